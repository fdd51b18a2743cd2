#pragma once

#include <string>
#include <vector>

#include "model/v41/engram_token_map.h"
#include "tensor/checkpoint.h"

namespace lethe::model::v41 {

/// The Engram token map of a checkpoint, from the tokenizer.json beside its weights, or from the
/// vocabulary in GGUF metadata (padding entries of type UNUSED at its end left out). Throws
/// LoadError if there is none, or if it does not fit engram_compressed_vocab_size.
EngramTokenMap load_engram_token_map(const Checkpoint& checkpoint);

}  // namespace lethe::model::v41
