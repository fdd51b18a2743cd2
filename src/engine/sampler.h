#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/sampling_params.h"
#include "engine/softmax_weights.h"
#include "engine/token_mask.h"

namespace lethe::engine {

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0;
};

struct SampledToken {
  int32_t id = -1;
  float logprob = 0;              ///< with SamplingParams::logprobs, else 0
  std::vector<TokenLogprob> top;  ///< top_logprobs of them, best first; the token need not be there
};

/// Chooses tokens from logits. In this order: logit_bias, mask, temperature, top-k, top-p, min-p,
/// and a draw from what is left, in which at least the best token always is. Log probabilities are
/// those of the model itself: log softmax of the logits as they came, over the ids below
/// num_tokens, at temperature 1, without bias, mask or filters.
///
/// The draw is a hash of (seed, index): it depends on no other draw. Immutable; any threads.
class Sampler {
 public:
  /// Ids >= num_tokens (Model::num_tokens) and those of `refused` (Model::refused_tokens, below
  /// num_tokens) are never sampled, whatever their bias. Throws UsageError for parameters out of
  /// range.
  Sampler(SamplingParams params, int64_t num_tokens, std::vector<int32_t> refused = {});

  /// `logits`: f32 [vocab], vocab >= num_tokens. `index`: how many tokens of this completion were
  /// sampled before. Throws Error if the logits hold a NaN or +infinity or nothing above -infinity,
  /// or if the mask leaves no token.
  SampledToken sample(std::span<const float> logits, uint64_t index,
                      TokenMask* mask = nullptr) const;

  const SamplingParams& params() const noexcept { return params_; }

 private:
  int32_t choose(std::span<const float> logits, const LogitRange& range, uint64_t index) const;
  void add_logprobs(std::span<const float> logits, const LogitRange& range,
                    SampledToken& token) const;

  SamplingParams params_;
  int64_t num_tokens_;
  std::vector<int32_t> refused_;
};

}  // namespace lethe::engine
