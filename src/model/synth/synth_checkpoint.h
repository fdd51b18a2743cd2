#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "model/synth/synth_config.h"

namespace lethe::synth {

struct SynthReport {
  std::vector<std::string> files;  ///< weight files, as paths
  uint64_t bytes = 0;              ///< of weights
  int64_t tensors = 0;
};

/// Writes a checkpoint of random weights: released safetensors with config.json and tokenizer.json,
/// or a GGUF as the stock converter lays it out. The same options give the same bytes. Streams: no
/// tensor is held in memory. Progress goes to stderr.
///
/// Throws UsageError (options), IoError (disk full, not writable) or, once `*cancelled` is true,
/// Error; nothing of the checkpoint is left behind then.
SynthReport synth_checkpoint(const SynthOptions& options,
                             const std::atomic<bool>* cancelled = nullptr);

}  // namespace lethe::synth
