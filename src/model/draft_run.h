#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/model.h"
#include "tensor/safetensors.h"

namespace lethe::model {

/// Teacher-forced run of a model's draft head beside its forward passes, collecting what the
/// `logits --mtp` command writes. V4: mtp_logits F32 [tokens - 1, vocab], row i from the streams of
/// position i and the token at i + 1. V4.1 (for every position p from `first_position` on, with the
/// model's own best token as anchor): mtp_tokens I32 [n, block + 1], mtp_logits F32 [n, block,
/// vocab] with the Markov bias, mtp_confidence F32 [n, block], raw.
class DraftRun {
 public:
  virtual ~DraftRun() = default;
  /// After a forward pass over tokens [begin, begin + result.hidden.rows()) of `state`.
  virtual void step(SequenceState& state, int64_t begin, const ForwardResult& result) = 0;
  /// Shapes of the outputs, known from the start.
  virtual std::vector<TensorPlan> outputs() const = 0;
  virtual void write(SafetensorsWriter& writer) const = 0;
};

/// tokens must outlive the run. Throws Error if the checkpoint has no draft head.
std::unique_ptr<DraftRun> make_draft_run(Model& model, std::span<const int32_t> tokens,
                                         int64_t first_position);

}  // namespace lethe::model
