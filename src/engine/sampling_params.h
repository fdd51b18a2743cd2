#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace lethe::engine {

/// How the next token is chosen from the logits (docs/sampling.md). The defaults are DeepSeek's:
/// the model's own distribution.
struct SamplingParams {
  double temperature = 1;  ///< >= 0; 0: the best token (the lowest id wins ties)
  double top_p = 1;        ///< 0 to 1: the fewest best tokens that hold this much of the mass
  int64_t top_k = 0;       ///< only so many best tokens; 0: all
  double min_p = 0;        ///< 0 to 1: only tokens at least so probable, as a share of the best one
  uint64_t seed = 0;       ///< same seed, same logits: same token, whatever else runs
  /// (id, -100 to 100): added to the logits before anything else.
  std::vector<std::pair<int32_t, float>> logit_bias = {};
  bool logprobs = false;     ///< report the sampled token's log probability
  int64_t top_logprobs = 0;  ///< and those of so many best tokens
};

}  // namespace lethe::engine
