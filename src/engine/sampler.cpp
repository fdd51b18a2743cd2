#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "engine/counter_random.h"
#include "engine/ranked_logits.h"
#include "engine/softmax_weights.h"

namespace lethe::engine {

namespace {

constexpr float kLargestBias = 100;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

void check_params(const SamplingParams& params, int64_t num_tokens) {
  if (!(params.temperature >= 0) || !std::isfinite(params.temperature)) {
    throw UsageError("temperature {}: expected a number from 0.", params.temperature);
  }
  if (!(params.top_p >= 0 && params.top_p <= 1)) {
    throw UsageError("top_p {}: expected a number from 0 to 1.", params.top_p);
  }
  if (params.top_k < 0) {
    throw UsageError("top_k {}: expected a number from 0 (all tokens).", params.top_k);
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    throw UsageError("min_p {}: expected a number from 0 to 1.", params.min_p);
  }
  if (params.top_logprobs < 0 || params.top_logprobs > num_tokens) {
    throw UsageError("top_logprobs {}: expected a number from 0 to {}.", params.top_logprobs,
                     num_tokens);
  }
  if (params.top_logprobs > 0 && !params.logprobs) {
    throw UsageError("top_logprobs {}: needs logprobs.", params.top_logprobs);
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= num_tokens) {
      throw UsageError("logit_bias: there is no token {}; ids go from 0 to {}.", id,
                       num_tokens - 1);
    }
    if (!(std::abs(bias) <= kLargestBias)) {
      throw UsageError("logit_bias {} of token {}: expected a number from {} to {}.", bias, id,
                       -kLargestBias, kLargestBias);
    }
  }
}

/// Range of the tokens' logits. A NaN must never turn into a token.
LogitRange checked_range(std::span<const float> logits, size_t num_tokens) {
  const LogitRange range = logit_range(logits.first(num_tokens));
  const bool rest_is_sane = logit_range(logits.subspan(num_tokens)).is_sane;
  if (range.is_sane && rest_is_sane && range.max > -kInfinity) return range;
  const auto bad = std::ranges::find_if(logits, [](float value) { return !(value < kInfinity); });
  const auto token = bad == logits.end() ? 0 : bad - logits.begin();
  throw Error(
      "the logits are not finite (token {} is {}): the weights hold NaN or out-of-range values; "
      "`lethe inspect --check` finds the tensor",
      token, logits[static_cast<size_t>(token)]);
}

}  // namespace

Sampler::Sampler(SamplingParams params, int64_t num_tokens)
    : params_(std::move(params)), num_tokens_(num_tokens) {
  LETHE_CHECK(num_tokens > 0 && num_tokens <= std::numeric_limits<int32_t>::max());
  check_params(params_, num_tokens);
}

SampledToken Sampler::sample(std::span<const float> logits, uint64_t index, TokenMask* mask) const {
  const auto num_tokens = static_cast<size_t>(num_tokens_);
  LETHE_CHECK(logits.size() >= num_tokens, "{} logits, {} tokens", logits.size(), num_tokens);
  checked_range(logits, num_tokens);
  const std::span<const float> row = logits.first(num_tokens);
  SampledToken token;
  if (params_.logit_bias.empty() && mask == nullptr) {
    token.id = choose(row, index);
  } else {
    std::vector<float> changed(row.begin(), row.end());
    for (const auto& [id, bias] : params_.logit_bias) changed[static_cast<size_t>(id)] += bias;
    if (mask != nullptr) mask->apply(changed);
    token.id = choose(changed, index);
  }
  if (params_.logprobs) add_logprobs(row, token);
  return token;
}

int32_t Sampler::choose(std::span<const float> logits, uint64_t index) const {
  const LogitRange range = logit_range(logits);
  LETHE_CHECK(range.is_sane, "a mask may only set logits to -infinity");
  if (range.max == -kInfinity) {
    throw Error(
        "no token is allowed here: the constraint on the answer (grammar or schema) forbids all {} "
        "tokens of the vocabulary",
        num_tokens_);
  }
  if (params_.temperature == 0 || params_.top_k == 1) {
    return static_cast<int32_t>(std::ranges::find(logits, range.max) - logits.begin());
  }
  const double uniform = counter_uniform(params_.seed, index);
  const SoftmaxWeights kept(range.max, params_.temperature, params_.min_p);
  if (params_.top_k == 0 && params_.top_p == 1) {
    return static_cast<int32_t>(kept.draw(logits, uniform));
  }
  // min-p comes last: the shares of top-p are taken before it.
  const SoftmaxWeights all(range.max, params_.temperature);
  RankedLogits ranked(logits, range, all);
  if (params_.top_k > 0) ranked.keep_count(params_.top_k);
  if (params_.top_p < 1) ranked.keep_share(params_.top_p);
  const std::vector<int32_t> ids = ranked.ids();
  std::vector<float> candidates;
  candidates.reserve(ids.size());
  for (const int32_t id : ids) candidates.push_back(logits[static_cast<size_t>(id)]);
  return ids[kept.draw(candidates, uniform)];
}

void Sampler::add_logprobs(std::span<const float> logits, SampledToken& token) const {
  const LogitRange range = logit_range(logits);
  const SoftmaxWeights weights(range.max, 1);
  const double log_sum = range.max + std::log(weights.sum(logits));
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(logits[static_cast<size_t>(id)] - log_sum);
  };
  token.logprob = logprob(token.id);
  if (params_.top_logprobs == 0) return;
  RankedLogits ranked(logits, range, weights);
  ranked.keep_count(params_.top_logprobs);
  for (const int32_t id : ranked.ids()) token.top.push_back({id, logprob(id)});
  std::ranges::stable_sort(token.top, [&](const TokenLogprob& a, const TokenLogprob& b) {
    return logits[static_cast<size_t>(a.id)] > logits[static_cast<size_t>(b.id)];
  });
}

}  // namespace lethe::engine
