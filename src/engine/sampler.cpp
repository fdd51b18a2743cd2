#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/recycled_memory.h"
#include "engine/counter_random.h"
#include "engine/ranked_logits.h"
#include "engine/softmax_weights.h"

namespace lethe::engine {

namespace {

constexpr float kLargestBias = 100;
constexpr size_t kPart = 64;  ///< logits that are skipped together
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

/// Range of logits after bias and mask.
LogitRange changed_range(std::span<const float> logits) {
  const LogitRange range = logit_range(logits);
  LETHE_CHECK(range.is_sane, "a mask may only set logits to -infinity");
  if (range.max > -kInfinity) return range;
  throw Error(
      "no token is allowed here: the constraint on the answer (grammar or schema) forbids all {} "
      "tokens of the vocabulary",
      logits.size());
}

/// Part of a row.
struct Candidates {
  std::vector<float> logits;
  std::vector<int32_t> ids;  ///< of those logits, ascending
};

/// Steps over whole parts that lie below the bound, and decides without branches in the others: in
/// a flat distribution no branch can be predicted.
Candidates at_least(std::span<const float> logits, double threshold) {
  const double lowest = std::numeric_limits<float>::lowest();
  const auto bound = static_cast<float>(std::max(threshold, lowest));
  Candidates chosen;
  size_t count = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kPart) {
    const size_t end = std::min(begin + kPart, logits.size());
    if (logit_range(logits.subspan(begin, end - begin)).max < bound) continue;
    chosen.logits.resize(count + kPart);
    chosen.ids.resize(count + kPart);
    for (size_t i = begin; i < end; ++i) {
      chosen.logits[count] = logits[i];
      chosen.ids[count] = static_cast<int32_t>(i);
      count += logits[i] >= bound ? 1 : 0;
    }
  }
  chosen.logits.resize(count);
  chosen.ids.resize(count);
  return chosen;
}

/// A logit that at least `count` of the row's reach: the count-th largest of the maxima of its
/// parts. -infinity if there are too few parts.
float reached_by(std::span<const float> logits, int64_t count) {
  std::vector<float> maxima;
  for (size_t begin = 0; begin + kPart <= logits.size(); begin += kPart) {
    maxima.push_back(logit_range(logits.subspan(begin, kPart)).max);
  }
  if (std::ssize(maxima) < count) return -kInfinity;
  const auto place = maxima.begin() + (count - 1);
  std::ranges::nth_element(maxima, place, std::greater<>());
  return *place;
}

/// A logit below which no token can be among the fewest that hold `share` of the weight `total`: n
/// tokens of weight (1 - share) * total / n or less cannot hold the rest between them. Half of
/// that, so that rounding does not matter.
double share_bound(const LogitRange& range, double temperature, double share, double total,
                   size_t n) {
  const double weight = (1 - share) * total / (2 * static_cast<double>(n));
  return range.max + temperature * std::log(weight);
}

Candidates kept_of(const RankedLogits& ranked, const Candidates& from) {
  Candidates kept;
  for (const int32_t place : ranked.places()) {
    kept.logits.push_back(from.logits[static_cast<size_t>(place)]);
    kept.ids.push_back(from.ids[static_cast<size_t>(place)]);
  }
  return kept;
}

Candidates best_tokens(std::span<const float> logits, const SoftmaxWeights& weights,
                       int64_t count) {
  const Candidates some = at_least(logits, reached_by(logits, count));
  RankedLogits ranked(some.logits, logit_range(some.logits), weights);
  ranked.keep_count(count);
  return kept_of(ranked, some);
}

/// What top-k and top-p leave of a row.
Candidates filter(std::span<const float> logits, const LogitRange& range,
                  const SamplingParams& params) {
  const SoftmaxWeights weights(range.max, params.temperature);
  if (params.top_k > 0 && params.top_p == 1) return best_tokens(logits, weights, params.top_k);
  Candidates some;
  double total = 0;
  if (params.top_k > 0) {
    some = best_tokens(logits, weights, params.top_k);
    total = weights.sum(some.logits);
  } else {
    total = weights.sum(logits);
    some = at_least(logits,
                    share_bound(range, params.temperature, params.top_p, total, logits.size()));
  }
  RankedLogits ranked(some.logits, logit_range(some.logits), weights);
  ranked.keep_weight(params.top_p * total);
  return kept_of(ranked, some);
}

}  // namespace

Sampler::Sampler(SamplingParams params, int64_t num_tokens, std::vector<int32_t> refused)
    : params_(std::move(params)), num_tokens_(num_tokens), refused_(std::move(refused)) {
  LETHE_CHECK(num_tokens > 0 && num_tokens <= std::numeric_limits<int32_t>::max());
  for (const int32_t id : refused_) LETHE_CHECK(id >= 0 && id < num_tokens);
  check_params(params_, num_tokens);
}

SampledToken Sampler::sample(std::span<const float> logits, uint64_t index, TokenMask* mask) const {
  const auto num_tokens = static_cast<size_t>(num_tokens_);
  LETHE_CHECK(logits.size() >= num_tokens, "{} logits, {} tokens", logits.size(), num_tokens);
  const LogitRange range = checked_range(logits, num_tokens);
  const std::span<const float> row = logits.first(num_tokens);
  SampledToken token;
  if (params_.logit_bias.empty() && refused_.empty() && mask == nullptr) {
    token.id = choose(row, range, index);
  } else {
    RecycledVector<float> changed(row.begin(), row.end());
    for (const auto& [id, bias] : params_.logit_bias) changed[static_cast<size_t>(id)] += bias;
    for (const int32_t id : refused_) changed[static_cast<size_t>(id)] = -kInfinity;
    if (mask != nullptr) mask->apply(changed);
    token.id = choose(changed, changed_range(changed), index);
  }
  if (params_.logprobs) add_logprobs(row, range, token);
  return token;
}

int32_t Sampler::choose(std::span<const float> logits, const LogitRange& range,
                        uint64_t index) const {
  if (params_.temperature == 0 || params_.top_k == 1) {
    return static_cast<int32_t>(std::ranges::find(logits, range.max) - logits.begin());
  }
  const double uniform = counter_uniform(params_.seed, index);
  // min-p comes last: the shares of top-p are taken before it.
  const SoftmaxWeights weights(range.max, params_.temperature, params_.min_p);
  if (params_.top_k == 0 && params_.top_p == 1) {
    return static_cast<int32_t>(weights.draw(logits, uniform));
  }
  const Candidates kept = filter(logits, range, params_);
  return kept.ids[weights.draw(kept.logits, uniform)];
}

void Sampler::add_logprobs(std::span<const float> logits, const LogitRange& range,
                           SampledToken& token) const {
  const SoftmaxWeights weights(range.max, 1);
  const double log_sum = range.max + std::log(weights.sum(logits));
  const auto logprob = [&](float logit) { return static_cast<float>(logit - log_sum); };
  token.logprob = logprob(logits[static_cast<size_t>(token.id)]);
  if (params_.top_logprobs == 0) return;
  const Candidates best = best_tokens(logits, weights, params_.top_logprobs);
  for (const int32_t id : best.ids) {
    token.top.push_back({id, logprob(logits[static_cast<size_t>(id)])});
  }
  std::ranges::stable_sort(token.top, [&](const TokenLogprob& a, const TokenLogprob& b) {
    return logits[static_cast<size_t>(a.id)] > logits[static_cast<size_t>(b.id)];
  });
}

}  // namespace lethe::engine
