#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/synth/synth_weights.h"
#include "model/synth/vocabulary.h"
#include "tensor/gguf.h"

namespace lethe::synth {

using GgufMetadata = std::vector<std::pair<std::string, GgufWriteValue>>;

/// A GGUF to write.
struct GgufLayout {
  GgufMetadata metadata;
  std::vector<OutputTensor> tensors;
};

/// The trunk as the stock converter lays it out. Source: spec/formats.md sections 3 and 4.
GgufLayout gguf_model(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options);

/// V4's MTP block as a stock draft file ("mtp.gguf"): block L, with embedding and head beside it.
/// Source: spec/formats.md section 4.2.
GgufLayout gguf_draft(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options);

}  // namespace lethe::synth
