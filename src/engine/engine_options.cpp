#include "engine/engine_options.h"

#include "kernels/tile_dot.h"

namespace lethe::engine {

int64_t default_prefill_chunk(const ModelConfig& config) {
  constexpr int64_t kChunk = 512;
  const int64_t visits = kChunk * config.num_experts_per_tok;
  const bool fills_tiles = visits >= kernels::kTileTokens * config.n_routed_experts;
  return fills_tiles ? kChunk : 2 * kChunk;
}

}  // namespace lethe::engine
