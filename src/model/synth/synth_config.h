#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/synth/vocabulary.h"
#include "tensor/dtype.h"
#include "tensor/model_config.h"

namespace lethe::synth {

/// What `lethe synth` was asked for.
struct SynthOptions {
  std::string preset;
  std::optional<int64_t> layers;
  std::optional<int64_t> experts;
  std::optional<int64_t> vocab;
  std::optional<int64_t> engram_rows;  ///< V4.1: about so many rows per Engram table
  bool draft = true;                   ///< with draft blocks
  uint64_t seed = 0;
  bool gguf = false;
  std::optional<DType> expert_encoding;  ///< GGUF only; MXFP4 if not given
  std::optional<DType> dense_encoding;   ///< GGUF only; Q8_0 if not given
  uint64_t shard_size = 5'000'000'000;   ///< bytes of tensors per .safetensors file
  std::string out;
  bool force = false;  ///< into a directory that is not empty
};

/// The preset with its overrides. Layer roles keep the preset's pattern: V4 the first `layers`
/// compression ratios (the last two repeat beyond them); V4.1 the shares of window-only, ratio-2
/// and ratio-1 layers, with KV and index sources, candidates, Engram layers and DSpark targets at
/// the places that follow. V4.1: ids and Engram sizes agree with `vocabulary`. Throws UsageError.
ModelConfig synth_config(const SynthOptions& options, const Vocabulary& vocabulary);

/// The vocabulary of those options.
Vocabulary synth_vocabulary(const SynthOptions& options);

}  // namespace lethe::synth
