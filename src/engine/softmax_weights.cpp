#include "engine/softmax_weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "base/check.h"

namespace lethe::engine {

namespace {

constexpr size_t kLanes = 8;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// exp(x) for -700 <= x <= 0 by 2^n exp(r), |r| <= ln(2) / 2, and Taylor's series to r^11 (the rest
/// is below 7e-15). Without branches or calls, so that loops over it become vector code; the
/// library function takes more than a millisecond for a vocabulary.
inline double exp_nonpositive(double x) {
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  constexpr double kLog2e = 1.4426950408889634;
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // 43 bits: its product with n is exact
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;
  const double shifted = x * kLog2e + kRound;
  const double n = shifted - kRound;
  const double r = (x - n * kLn2High) - n * kLn2Low;
  double p = 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const uint64_t exponent = std::bit_cast<uint64_t>(shifted) + 1023;
  return p * std::bit_cast<double>(exponent << 52);
}

double sum_of(const double* weights, size_t n) {
  std::array<double, 4> lanes{};
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t lane = 0; lane < 4; ++lane) lanes[lane] += weights[i + lane];
  }
  for (; i < n; ++i) lanes[0] += weights[i];
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

/// Where the running sum of these weights passes `rest`; the last positive one if rounding keeps it
/// from getting there.
size_t draw_in_block(const double* weights, size_t n, double rest) {
  size_t last = 0;
  double sum = 0;
  for (size_t i = 0; i < n; ++i) {
    if (weights[i] == 0) continue;
    sum += weights[i];
    last = i;
    if (rest < sum) break;
  }
  return last;
}

}  // namespace

LogitRange logit_range(std::span<const float> logits) {
  std::array<float, kLanes> low;
  std::array<float, kLanes> high;
  std::array<uint32_t, kLanes> bad{};
  low.fill(kInfinity);
  high.fill(-kInfinity);
  const auto take = [&](float value, size_t lane) {
    low[lane] = value < low[lane] ? value : low[lane];
    high[lane] = value > high[lane] ? value : high[lane];
    bad[lane] |= value < kInfinity ? 0U : 1U;  // NaN compares false
  };
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) take(logits[i + lane], lane);
  }
  for (; i < logits.size(); ++i) take(logits[i], 0);
  return {*std::ranges::min_element(low), *std::ranges::max_element(high),
          *std::ranges::max_element(bad) == 0};
}

SoftmaxWeights::SoftmaxWeights(float max, double temperature, double least)
    : max_(max),
      inverse_(std::min(1 / temperature, std::numeric_limits<double>::max())),
      least_(least) {
  LETHE_CHECK(temperature > 0 && max > -kInfinity && max < kInfinity);
}

void SoftmaxWeights::fill(std::span<const float> logits, double* weights) const {
  constexpr double kLeastExponent = -700;
  const size_t n = logits.size();
  const double max = max_;
  const double inverse = inverse_;
  const double least = least_;
  for (size_t i = 0; i < n; ++i) {
    const double x = (static_cast<double>(logits[i]) - max) * inverse;
    const double weight = exp_nonpositive(x < kLeastExponent ? kLeastExponent : x);
    const double kept = x < kLeastExponent ? 0 : weight;
    weights[i] = kept < least ? 0 : kept;
  }
}

double SoftmaxWeights::sum(std::span<const float> logits) const {
  std::array<double, kBlock> weights;
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, logits.size() - begin);
    fill(logits.subspan(begin, n), weights.data());
    sum += sum_of(weights.data(), n);
  }
  return sum;
}

size_t SoftmaxWeights::draw(std::span<const float> logits, double uniform) const {
  std::array<double, kBlock> weights;
  std::vector<double> sums;  // of the blocks so far
  sums.reserve(logits.size() / kBlock + 1);
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t n = std::min(kBlock, logits.size() - begin);
    fill(logits.subspan(begin, n), weights.data());
    sum += sum_of(weights.data(), n);
    sums.push_back(sum);
  }
  LETHE_CHECK(sum > 0);
  // uniform < 1, yet its product can round to the sum; the first block to reach the sum has weight.
  const double target = uniform * sum;
  auto block = std::ranges::upper_bound(sums, target);
  if (block == sums.end()) block = std::ranges::lower_bound(sums, sum);
  const auto index = static_cast<size_t>(block - sums.begin());
  const size_t begin = index * kBlock;
  const size_t n = std::min(kBlock, logits.size() - begin);
  fill(logits.subspan(begin, n), weights.data());
  return begin + draw_in_block(weights.data(), n, target - (index == 0 ? 0 : sums[index - 1]));
}

}  // namespace lethe::engine
