#pragma once

#include <cstdint>

#include "tensor/model_config.h"

namespace lethe::engine {

/// Prompt tokens of a step for which nobody waits: 512, which measured best where experts see many
/// tokens each, and 1,024 where so few would reach an expert (fewer than a tile of the kernels has
/// rows) that most of the time goes to decoding its weights. A token of the step takes about 1 MB
/// of memory at the sizes of V4-Flash.
int64_t default_prefill_chunk(const ModelConfig& config);

/// How an engine shares the machine among requests.
struct EngineOptions {
  /// Prompt tokens computed in one step, of all requests together; a request that is being answered
  /// waits for at most one such step between two tokens. 0: default_prefill_chunk().
  int64_t prefill_chunk = 0;
  /// The same while other requests are being answered, if it is less: shorter waits, slower
  /// prefill.
  int64_t shared_prefill_chunk = 128;
  int64_t max_running = 16;   ///< requests computed at a time
  int64_t max_waiting = 256;  ///< besides those there is a place for; beyond, submit() refuses
  /// Memory of all sequences and cached prefixes. 0: a quarter of what is free.
  int64_t memory_bytes = 0;
  bool prefix_cache = true;
  /// In a long prompt, a state is kept every so many tokens.
  int64_t checkpoint_interval = 16'384;
  /// A beginning that prompts share is kept for the next one if it is this long.
  int64_t min_shared_prefix = 64;
};

/// A snapshot of what an engine does and has done.
struct EngineStats {
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t reserved_bytes = 0;  ///< for running requests
  int64_t cache_bytes = 0;
  int64_t memory_bytes = 0;  ///< the budget of both
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t finished = 0;
};

}  // namespace lethe::engine
