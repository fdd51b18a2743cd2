#pragma once

#include "model/synth/gguf_layout.h"

namespace lethe::synth {

/// Keys of a model file or, if `draft`, of a stock MTP draft file (one block more, no trunk).
/// Source: spec/formats.md sections 3.1 to 3.4.
GgufMetadata gguf_metadata(const ModelConfig& config, const Vocabulary& vocabulary,
                           const SynthOptions& options, bool draft);

}  // namespace lethe::synth
