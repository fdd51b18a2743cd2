#include "engine/softmax_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace lethe::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(SoftmaxWeights, AreExponentials) {
  const SoftmaxWeights weights(3, 0.7);
  for (int i = 0; i < 4'800; ++i) {  // odd and even lengths, down to exp(-686)
    const std::vector<float> logits(static_cast<size_t>(1 + i % 3),
                                    3 - 0.1F * static_cast<float>(i));
    std::vector<double> found(logits.size());
    weights.fill(logits, found.data());
    const double expected = std::exp((double{logits[0]} - 3) / 0.7);
    for (const double weight : found) {
      ASSERT_NEAR(weight / expected, 1, 1e-11 + 700 * 0x1p-52) << logits[0];
    }
  }
}

TEST(SoftmaxWeights, OneIsOneAndNothingIsNothing) {
  const std::vector<float> logits = {5, -kInfinity, -1e30F, 4};
  std::vector<double> found(4);
  SoftmaxWeights(5, 1).fill(logits, found.data());
  EXPECT_EQ(found[0], 1);
  EXPECT_EQ(found[1], 0);
  EXPECT_EQ(found[2], 0);
  SoftmaxWeights(5, 1, 0.5).fill(logits, found.data());
  EXPECT_EQ(found[3], 0);
  SoftmaxWeights(5, 5e-324).fill(logits, found.data());  // 1 / temperature overflows
  EXPECT_EQ(found[0], 1);
  EXPECT_EQ(found[3], 0);
}

TEST(SoftmaxWeights, DrawReachesEveryTokenAndNoOther) {
  std::vector<float> logits(1300, -kInfinity);
  for (const size_t i : {3U, 700U, 1299U}) logits[i] = 2;
  const SoftmaxWeights weights(2, 1);
  EXPECT_EQ(weights.sum(logits), 3);
  EXPECT_EQ(weights.draw(logits, 0), 3U);
  EXPECT_EQ(weights.draw(logits, 0.5), 700U);
  EXPECT_EQ(weights.draw(logits, 1 - 0x1p-53), 1299U);
}

TEST(LogitRange, FindsEndsAndFaults) {
  for (const size_t n : {1U, 3U, 8U, 15U, 64U}) {
    for (size_t place = 0; place < n; ++place) {
      std::vector<float> logits(n, 1);
      logits[place] = 4;
      EXPECT_EQ(logit_range(logits).max, 4);
      logits[place] = -kInfinity;
      EXPECT_EQ(logit_range(logits).min, -kInfinity);
      EXPECT_TRUE(logit_range(logits).is_sane);
      for (const float bad : {kInfinity, std::nanf("")}) {
        logits[place] = bad;
        EXPECT_FALSE(logit_range(logits).is_sane) << place << " of " << n;
      }
    }
  }
  EXPECT_EQ(logit_range({}).max, -kInfinity);
}

}  // namespace
}  // namespace lethe::engine
