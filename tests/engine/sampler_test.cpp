#include "engine/sampler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>

#include "base/error.h"
#include "engine/counter_random.h"

namespace lethe::engine {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The slow twin: exact probabilities of every token, by sorting everything and by the definitions
/// of docs/sampling.md. [vocab]
std::vector<double> naive_probabilities(std::vector<float> logits, const SamplingParams& params) {
  for (const auto& [id, bias] : params.logit_bias) logits[static_cast<size_t>(id)] += bias;
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<double> p(logits.size());
  const double best = logits[order[0]];
  if (params.temperature == 0) {
    p[order[0]] = 1;
    return p;
  }
  for (const size_t i : order) p[i] = std::exp((double{logits[i]} - best) / params.temperature);
  const auto keep = [&](size_t count) {
    for (size_t rank = count; rank < order.size(); ++rank) p[order[rank]] = 0;
  };
  if (params.top_k > 0) keep(static_cast<size_t>(params.top_k));
  if (params.top_p < 1) {
    const double total = std::accumulate(p.begin(), p.end(), 0.0);
    double mass = 0;
    size_t count = 0;
    do mass += p[order[count++]];
    while (count < order.size() && mass < params.top_p * total);
    keep(count);
  }
  for (double& value : p) value = value < params.min_p ? 0 : value;
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

int32_t naive_token(const std::vector<double>& p, double uniform) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    sum += p[i];
    if (uniform < sum) return static_cast<int32_t>(i);
  }
  return -1;
}

std::vector<float> random_logits(std::mt19937_64& random, size_t vocab, float std) {
  std::normal_distribution<float> normal(0, std);
  std::vector<float> logits(vocab);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

int64_t size_of(const std::vector<float>& logits) {
  return static_cast<int64_t>(logits.size());
}

/// Chi-square of 100,000 draws over as many seeds against the exact probabilities; tokens expected
/// less than five times count as one.
void expect_distribution(const std::vector<float>& logits, SamplingParams params) {
  constexpr int kDraws = 100'000;
  const std::vector<double> p = naive_probabilities(logits, params);
  std::vector<int> counts(logits.size());
  for (int seed = 0; seed < kDraws; ++seed) {
    params.seed = static_cast<uint64_t>(seed);
    const int32_t id = Sampler(params, size_of(logits)).sample(logits, 3).id;
    ASSERT_GT(p.at(static_cast<size_t>(id)), 0) << "token " << id << " was filtered out";
    ++counts[static_cast<size_t>(id)];
  }
  double chi_square = 0;
  double rest_expected = 0;
  double rest_found = 0;
  int cells = 0;
  const auto add = [&](double expected, double found) {
    chi_square += (found - expected) * (found - expected) / expected;
    ++cells;
  };
  for (size_t i = 0; i < p.size(); ++i) {
    const double expected = p[i] * kDraws;
    if (expected >= 5) {
      add(expected, counts[i]);
    } else {
      rest_expected += expected;
      rest_found += counts[i];
    }
  }
  if (rest_expected >= 5) add(rest_expected, rest_found);
  // Mean cells - 1, variance twice that: beyond four and a half deviations it is no accident.
  const double freedom = cells - 1;
  EXPECT_LT(chi_square, freedom + 4.5 * std::sqrt(2 * freedom) + 3) << cells << " cells";
}

class SamplerDistribution : public ::testing::TestWithParam<SamplingParams> {};

TEST_P(SamplerDistribution, IsTheExactOne) {
  std::mt19937_64 random(1);
  expect_distribution(random_logits(random, 60, 1.5F), GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Filters, SamplerDistribution,
    ::testing::Values(SamplingParams{}, SamplingParams{.temperature = 0.5},
                      SamplingParams{.temperature = 2}, SamplingParams{.top_k = 7},
                      SamplingParams{.top_p = 0.8}, SamplingParams{.min_p = 0.1},
                      SamplingParams{.temperature = 1.5, .top_p = 0.9, .top_k = 20, .min_p = 0.05},
                      SamplingParams{.logit_bias = {{3, 4.0F}, {4, -100.0F}}}));

/// Random parameters of every combination, also extreme ones.
SamplingParams random_params(std::mt19937_64& random, int64_t vocab) {
  const auto one_of = [&](std::initializer_list<double> values) {
    return values.begin()[random() % values.size()];
  };
  SamplingParams params;
  params.temperature = one_of({0, 1e-300, 0.01, 0.3, 1, 1, 1.7, 100, 1e300});
  params.top_p = one_of({0, 1e-9, 0.3, 0.9, 0.99, 1 - 1e-12, 1});
  params.top_k = static_cast<int64_t>(
      one_of({0, 0, 1, 2, 50, static_cast<double>(vocab) / 2, static_cast<double>(vocab), 1e9}));
  params.top_k = std::min(params.top_k, params.top_k > vocab ? vocab : params.top_k);
  params.min_p = one_of({0, 0, 0.02, 0.5, 1});
  params.seed = random();
  if (random() % 2 == 0) {
    params.logit_bias = {{static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)), 2.5F},
                         {static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)), -100.0F}};
  }
  return params;
}

TEST(Sampler, ChoosesWhatTheNaiveTwinChooses) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 600; ++round) {
    const size_t vocab = std::vector<size_t>{1, 2, 9, 511, 512, 1025, 5000}[random() % 7];
    std::vector<float> logits =
        random_logits(random, vocab, std::vector<float>{0, 0.1F, 3, 30}[random() % 4]);
    if (random() % 3 == 0) {  // many ties
      for (float& logit : logits) logit = std::round(logit);
    }
    const SamplingParams params = random_params(random, size_of(logits));
    const Sampler sampler(params, size_of(logits));
    const std::vector<double> p = naive_probabilities(logits, params);
    for (uint64_t index = 0; index < 5; ++index) {
      ASSERT_EQ(sampler.sample(logits, index).id,
                naive_token(p, counter_uniform(params.seed, index)))
          << "round " << round << " vocab " << vocab << " temperature " << params.temperature
          << " top_p " << params.top_p << " top_k " << params.top_k << " min_p " << params.min_p;
    }
  }
}

TEST(Sampler, AgreesWithTheTwinOnAWholeVocabulary) {
  std::mt19937_64 random(3);
  const std::vector<float> logits = random_logits(random, 129'280, 2);
  for (const SamplingParams& params :
       {SamplingParams{.seed = 5}, SamplingParams{.top_p = 0.95, .seed = 6},
        SamplingParams{.temperature = 0.7, .top_p = 0.9, .top_k = 1000, .min_p = 0.01}}) {
    const Sampler sampler(params, size_of(logits));
    const std::vector<double> p = naive_probabilities(logits, params);
    for (uint64_t index = 0; index < 20; ++index) {
      ASSERT_EQ(sampler.sample(logits, index).id,
                naive_token(p, counter_uniform(params.seed, index)));
    }
  }
}

TEST(Sampler, DrawsDependOnSeedAndIndexAlone) {
  std::mt19937_64 random(4);
  const std::vector<float> logits = random_logits(random, 300, 1);
  const Sampler sampler({.seed = 42}, 300);
  std::vector<int32_t> forwards;
  for (uint64_t i = 0; i < 50; ++i) forwards.push_back(sampler.sample(logits, i).id);
  const Sampler again({.seed = 42}, 300);
  for (uint64_t i = 50; i-- > 0;) EXPECT_EQ(again.sample(logits, i).id, forwards[i]);
  const Sampler other({.seed = 43}, 300);
  int same = 0;
  for (uint64_t i = 0; i < 50; ++i) same += other.sample(logits, i).id == forwards[i] ? 1 : 0;
  EXPECT_LT(same, 10);
}

/// Pinned: a new generator would change what every seed in use gives.
TEST(CounterRandom, IsPinned) {
  EXPECT_EQ(counter_uniform(0, 0), 0x1.17cc6dd08d50ap-2);
  EXPECT_EQ(counter_uniform(1, 0), 0x1.bcaa6aaa06f18p-1);
  EXPECT_EQ(counter_uniform(42, 1'000'000), 0x1.8c10d1c664718p-3);
  EXPECT_NE(counter_uniform(1, 0), counter_uniform(0, 1));
  EXPECT_NE(counter_uniform(0, 0), counter_uniform(~uint64_t{0}, 0));
  double sum = 0;
  double product = 0;
  constexpr int kDraws = 100'000;
  for (uint64_t i = 0; i < kDraws; ++i) {
    sum += counter_uniform(9, i);
    product += (counter_uniform(9, i) - 0.5) * (counter_uniform(9, i + 1) - 0.5);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.004);        // 4 deviations of 0.29 / sqrt(n)
  EXPECT_NEAR(product / kDraws, 0.0, 0.00106);  // 4 deviations of 1/12 / sqrt(n)
}

TEST(Sampler, GreedyTakesTheLowestIdOfATie) {
  const std::vector<float> logits = {1, 5, 2, 5, 5};
  EXPECT_EQ(Sampler({.temperature = 0}, 5).sample(logits, 0).id, 1);
  EXPECT_EQ(Sampler({.top_k = 1}, 5).sample(logits, 7).id, 1);
  EXPECT_EQ(Sampler({.top_p = 0}, 5).sample(logits, 7).id, 1);
}

TEST(Sampler, BiasBansAndForces) {
  const std::vector<float> logits = {1, 5, 2, 5, 5};
  for (uint64_t seed = 0; seed < 200; ++seed) {
    EXPECT_EQ(Sampler({.seed = seed, .logit_bias = {{0, 100.0F}}}, 5).sample(logits, 0).id, 0);
    EXPECT_NE(Sampler({.seed = seed, .logit_bias = {{1, -100.0F}}}, 5).sample(logits, 0).id, 1);
  }
  EXPECT_EQ(Sampler({.temperature = 0, .logit_bias = {{1, -100.0F}}}, 5).sample(logits, 0).id, 3);
}

TEST(Sampler, LogprobsAreTheModelsOwn) {
  std::mt19937_64 random(5);
  const std::vector<float> logits = random_logits(random, 700, 2);
  const Sampler sampler({.temperature = 0.3,
                         .top_k = 3,
                         .logit_bias = {{9, -100.0F}},
                         .logprobs = true,
                         .top_logprobs = 700},
                        700);
  const SampledToken token = sampler.sample(logits, 1);
  const std::vector<double> p = naive_probabilities(logits, {});
  EXPECT_NEAR(token.logprob, std::log(p[static_cast<size_t>(token.id)]), 1e-5);
  ASSERT_EQ(token.top.size(), 700U);
  double sum = 0;
  for (size_t i = 0; i < token.top.size(); ++i) {
    sum += std::exp(double{token.top[i].logprob});
    EXPECT_NEAR(token.top[i].logprob, std::log(p[static_cast<size_t>(token.top[i].id)]), 1e-5);
    EXPECT_LE(token.top[i].logprob, i > 0 ? token.top[i - 1].logprob : 0.0F);
  }
  EXPECT_NEAR(sum, 1, 1e-6);
}

TEST(Sampler, TopLogprobsAreTheBestAndTiesGoByLowerId) {
  const std::vector<float> logits = {0, 3, 1, 3, -kInfinity};
  const Sampler sampler({.logprobs = true, .top_logprobs = 3}, 5);
  const SampledToken token = sampler.sample(logits, 0);
  ASSERT_EQ(token.top.size(), 3U);
  EXPECT_EQ(token.top[0].id, 1);
  EXPECT_EQ(token.top[1].id, 3);
  EXPECT_EQ(token.top[2].id, 2);
  EXPECT_EQ(Sampler({.logprobs = true, .top_logprobs = 5}, 5).sample(logits, 0).top.size(), 4U);
  EXPECT_TRUE(Sampler({}, 5).sample(logits, 0).top.empty());
}

TEST(Sampler, IdsBeyondTheTokensAreNeverSampled) {
  const std::vector<float> logits = {0, 0, 0, 50, 50};
  for (uint64_t index = 0; index < 500; ++index) {
    EXPECT_LT(Sampler({}, 3).sample(logits, index).id, 3);
  }
  EXPECT_EQ(Sampler({.temperature = 0}, 3).sample(logits, 0).id, 0);
  const SampledToken token = Sampler({.logprobs = true}, 3).sample(logits, 0);
  EXPECT_NEAR(token.logprob, -std::log(3.0), 1e-6);
}

std::string error_of(const Sampler& sampler, const std::vector<float>& logits,
                     TokenMask* mask = nullptr) {
  try {
    sampler.sample(logits, 0, mask);
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Sampler, LogitsThatAreNoNumbersAreAnError) {
  const Sampler sampler({}, 20);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    for (const size_t place : {size_t{0}, size_t{7}, size_t{19}, size_t{22}}) {
      std::vector<float> logits(23, 1.0F);
      logits[place] = bad;
      EXPECT_THAT(error_of(sampler, logits), HasSubstr("inspect --check"));
      EXPECT_THAT(error_of(sampler, logits), HasSubstr("token " + std::to_string(place) + " is"));
    }
  }
  EXPECT_THAT(error_of(sampler, std::vector<float>(20, -kInfinity)), HasSubstr("not finite"));
  std::vector<float> one(20, -kInfinity);
  one[6] = -3;
  EXPECT_EQ(sampler.sample(one, 0).id, 6);
}

/// Allows only some ids.
class AllowList : public TokenMask {
 public:
  explicit AllowList(std::vector<int32_t> allowed) : allowed_(std::move(allowed)) {}
  void apply(std::span<float> logits) override {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (std::ranges::count(allowed_, static_cast<int32_t>(i)) == 0) logits[i] = -kInfinity;
    }
  }
  void accept(int32_t) override { ++accepted; }
  int accepted = 0;

 private:
  std::vector<int32_t> allowed_;
};

TEST(Sampler, AMaskHoldsAgainstEveryParameter) {
  std::vector<float> logits(40, 0);
  logits[5] = 90;
  AllowList mask({7, 30});
  std::map<int32_t, int> seen;
  for (uint64_t index = 0; index < 400; ++index) {
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.temperature = 0}, SamplingParams{.top_k = 5},
          SamplingParams{.top_p = 0.99}, SamplingParams{.logit_bias = {{5, 100.0F}}}}) {
      ++seen[Sampler(params, 40).sample(logits, index, &mask).id];
    }
  }
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_GT(seen[7], 800);  // with the greedy ones
  EXPECT_GT(seen[30], 600);
  EXPECT_EQ(mask.accepted, 0);
  const SampledToken token = Sampler({.logprobs = true}, 40).sample(logits, 0, &mask);
  EXPECT_NEAR(token.logprob, -90, 1e-4);  // the model's, mask or not
}

TEST(Sampler, AMaskThatLeavesNothingIsAnError) {
  AllowList mask({});
  EXPECT_THAT(error_of(Sampler({}, 3), {1, 2, 3}, &mask), HasSubstr("no token is allowed"));
}

TEST(Sampler, ParametersOutOfRangeAreRefused) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const SamplingParams& params :
       {SamplingParams{.temperature = -0.1}, SamplingParams{.temperature = kNan},
        SamplingParams{.temperature = std::numeric_limits<double>::infinity()},
        SamplingParams{.top_p = 1.01}, SamplingParams{.top_p = kNan}, SamplingParams{.top_k = -1},
        SamplingParams{.min_p = -0.5}, SamplingParams{.min_p = 2},
        SamplingParams{.logit_bias = {{10, 1.0F}}}, SamplingParams{.logit_bias = {{-1, 1.0F}}},
        SamplingParams{.logit_bias = {{1, 101.0F}}},
        SamplingParams{.logit_bias = {{1, std::nanf("")}}}, SamplingParams{.top_logprobs = 2},
        SamplingParams{.logprobs = true, .top_logprobs = 11}}) {
    EXPECT_THROW(Sampler(params, 10), UsageError);
  }
}

}  // namespace
}  // namespace lethe::engine
