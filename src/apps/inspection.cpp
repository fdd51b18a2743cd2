#include "apps/inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "base/progress.h"
#include "base/thread_team.h"
#include "quant/weight.h"
#include "tensor/gguf.h"

namespace lethe::apps {

namespace {

std::string encoding_of(const StoredWeight& stored, const ModelConfig& config) {
  if (stored.kind == StorageKind::I64) return std::string(dtype_name(stored.tensor.dtype));
  const quant::Weight weight = quant::make_weight(stored, config.fp8_block);
  std::string name(quant::encoding_name(weight.encoding));
  return weight.scales_f32 ? name + ", F32 scales" : name;
}

int64_t bytes_of(const StoredWeight& stored) {
  auto bytes = static_cast<int64_t>(stored.tensor.data.size());
  if (stored.cols >= 0) bytes = bytes / stored.tensor.shape.back() * stored.cols;
  if (stored.scale) bytes += static_cast<int64_t>(stored.scale->data.size());
  return bytes;
}

void add(WeightSum& sum, const InspectedTensor& tensor) {
  ++sum.tensors;
  sum.parameters += num_elements(tensor.spec.shape);
  sum.bytes += tensor.bytes;
  sum.bytes_by_encoding[tensor.encoding] += tensor.bytes;
}

std::string find_tokenizer(const Checkpoint& checkpoint) {
  const std::filesystem::path file =
      std::filesystem::path(checkpoint.directory()) / "tokenizer.json";
  if (checkpoint.gguf() != nullptr &&
      checkpoint.gguf()->value("tokenizer.ggml.tokens") != nullptr) {
    return "in the GGUF";
  }
  return std::filesystem::exists(file) ? "tokenizer.json" : "";
}

/// The first row that holds a NaN, or -1.
int64_t first_nan_row(const quant::Weight& weight, ThreadTeam& team) {
  constexpr int64_t kWork = 1 << 16;  // values per piece of work
  std::atomic<int64_t> first{weight.rows};
  team.parallel_for(weight.rows, std::max(int64_t{1}, kWork / weight.cols),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t row = begin; row < end && row < first; ++row) {
                        if (!quant::row_has_nan(weight, row)) continue;
                        int64_t known = first;
                        while (row < known && !first.compare_exchange_weak(known, row)) {
                        }
                        return;
                      }
                    });
  return first == weight.rows ? -1 : first.load();
}

}  // namespace

Inspection inspect(const Checkpoint& checkpoint) {
  Inspection inspection;
  for (TensorSpec& spec : expected_tensors(checkpoint.present_config())) {
    const std::optional<StoredWeight> stored = checkpoint.find(spec.name);
    if (!stored) continue;
    InspectedTensor tensor;
    tensor.encoding = encoding_of(*stored, checkpoint.config());
    tensor.bytes = bytes_of(*stored);
    tensor.file = stored->tensor.file;
    tensor.spec = std::move(spec);
    add(inspection.by_part[static_cast<size_t>(tensor.spec.part)], tensor);
    add(inspection.by_encoding[tensor.encoding], tensor);
    add(inspection.all, tensor);
    inspection.tensors.push_back(std::move(tensor));
  }
  for (const MappedFile& file : checkpoint.files()) {
    inspection.file_bytes += static_cast<int64_t>(file.bytes().size());
  }
  inspection.tokenizer = find_tokenizer(checkpoint);
  return inspection;
}

std::string layer_kinds(const ModelConfig& config) {
  std::map<int64_t, int64_t> count;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    ++count[config.compress_ratio(layer)];
  }
  std::vector<std::string> kinds;
  for (const auto& [ratio, layers] : count) {
    kinds.push_back(ratio == 0 ? fmt::format("{} window only", layers)
                               : fmt::format("{} of ratio {}", layers, ratio));
  }
  return fmt::format("{}", fmt::join(kinds, ", "));
}

std::vector<std::string> find_nans(const Checkpoint& checkpoint, const Inspection& inspection) {
  std::vector<std::string> found;
  ThreadTeam team;
  Progress progress("Checking weights", inspection.all.bytes, "bytes");
  for (const InspectedTensor& tensor : inspection.tensors) {
    if (tensor.spec.kind != StorageKind::I64) {
      const StoredWeight stored = checkpoint.get(tensor.spec.name);
      const quant::Weight weight = quant::make_weight(stored, checkpoint.config().fp8_block);
      const int64_t row = first_nan_row(weight, team);
      if (row >= 0) {
        found.push_back(fmt::format("{}: {}: expected numbers, found a NaN or infinity in row {}",
                                    tensor.file, tensor.spec.name, row));
      }
    }
    progress.advance(tensor.bytes);
  }
  checkpoint.check_unchanged();
  return found;
}

}  // namespace lethe::apps
