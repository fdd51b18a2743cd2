#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden_tensors.h"
#include "model/model.h"

namespace lethe::testing {

/// Sizes of chunks in which tokens are fed, repeated as needed. Sanitizers, ten times as slow, see
/// in one pattern what they would see in all.
inline std::vector<std::vector<int64_t>> chunk_patterns() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return {{7, 64, 1, 130}};
#else
  return {{7, 64, 1, 130}, {5, 63, 1, 1, 96, 31}, {127, 2, 129}};
#endif
}

/// A checkpoint loaded in one numerics mode.
class LoadedModel {
 public:
  LoadedModel(const std::filesystem::path& path, ops::Numerics numerics, int threads = 2,
              const model::ModelOptions& options = {},
              const kernels::KernelTable& kernels = kernels::kernel_table())
      : checkpoint_(std::make_unique<Checkpoint>(Checkpoint::open(path.string()))),
        team_(std::make_unique<ThreadTeam>(threads)),
        device_(*team_, numerics, kernels),
        model_(model::load_model(*checkpoint_, device_, options)) {}

  model::Model& operator*() const { return *model_; }
  model::Model* operator->() const { return model_.get(); }
  const ops::Device& device() const { return device_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }

  /// Logits of all tokens, fed to `state` in chunks of the given sizes (repeated as needed; empty:
  /// all at once).
  ops::Matrix logits(model::SequenceState& state, std::span<const int32_t> tokens,
                     std::vector<int64_t> chunks = {}, model::Trace* trace = nullptr) const {
    if (chunks.empty()) chunks = {static_cast<int64_t>(tokens.size())};
    ops::Matrix all(static_cast<int64_t>(tokens.size()), model_->config().vocab_size);
    size_t begin = 0;
    for (size_t i = 0; begin < tokens.size(); ++i) {
      const size_t count =
          std::min(static_cast<size_t>(chunks[i % chunks.size()]), tokens.size() - begin);
      const model::SequenceChunk chunk{&state, tokens.subspan(begin, count)};
      const model::ForwardResult result = model_->forward({&chunk, 1}, {.trace = trace});
      std::copy(result.logits.values().begin(), result.logits.values().end(),
                all.row(static_cast<int64_t>(begin)).begin());
      begin += count;
    }
    return all;
  }
  ops::Matrix logits(std::span<const int32_t> tokens, const std::vector<int64_t>& chunks = {},
                     model::Trace* trace = nullptr) const {
    model::SequenceState state = model_->new_state();
    return logits(state, tokens, chunks, trace);
  }

 private:
  std::unique_ptr<Checkpoint> checkpoint_;
  std::unique_ptr<ThreadTeam> team_;
  ops::Device device_;
  std::unique_ptr<model::Model> model_;
};

/// Bit equality, element by element.
inline bool same_bits(const ops::Matrix& a, const ops::Matrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.values().data(), b.values().data(), a.values().size_bytes()) == 0;
}

/// The first rows of a matrix.
inline ops::Matrix first_rows(const ops::Matrix& x, int64_t rows) {
  ops::Matrix out(rows, x.cols());
  std::copy_n(x.values().begin(), out.values().size(), out.values().begin());
  return out;
}

/// The last rows of a matrix.
inline ops::Matrix last_rows(const ops::Matrix& x, size_t rows) {
  ops::Matrix out(static_cast<int64_t>(rows), x.cols());
  std::copy_n(x.values().end() - static_cast<ptrdiff_t>(out.values().size()), out.values().size(),
              out.values().begin());
  return out;
}

}  // namespace lethe::testing
