#include "engine/softmax_weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace lethe::engine {

namespace {

// Vectors of the compilers' own, 16 bytes as every machine has them: left alone they vectorize
// neither the comparisons nor the exponent's arithmetic, which costs a factor of four.
using F32x4 __attribute__((vector_size(16))) = float;
using I32x4 __attribute__((vector_size(16))) = int32_t;
using F32x2 __attribute__((vector_size(8))) = float;
using F64x2 __attribute__((vector_size(16))) = double;
using I64x2 __attribute__((vector_size(16))) = int64_t;

template <typename Vector, typename T>
Vector load(const T* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

F64x2 select(I64x2 condition, F64x2 yes, F64x2 no) {
  return std::bit_cast<F64x2>((condition & std::bit_cast<I64x2>(yes)) |
                              (~condition & std::bit_cast<I64x2>(no)));
}

/// exp(x) for -700 <= x <= 0 by 2^n exp(r), |r| <= ln(2) / 2, and Taylor's series to r^9 (the rest
/// is below 1e-11; a logit's own rounding moves its weight by 1e-6).
F64x2 exp_nonpositive(F64x2 x) {
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  constexpr double kLog2e = 1.4426950408889634;
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // 43 bits: its product with n is exact
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;
  const F64x2 shifted = x * kLog2e + kRound;
  const F64x2 n = shifted - kRound;
  const F64x2 r = (x - n * kLn2High) - n * kLn2Low;
  // In pairs, then pairs of pairs: a third of the additions that wait for each other.
  const F64x2 r2 = r * r;
  const F64x2 r4 = r2 * r2;
  const F64x2 low = (r + 1.0) + (r * (1.0 / 6) + 0.5) * r2;
  const F64x2 middle = (r * (1.0 / 120) + 1.0 / 24) + (r * (1.0 / 5040) + 1.0 / 720) * r2;
  const F64x2 high = r * (1.0 / 362880) + 1.0 / 40320;
  const F64x2 p = low + (middle + high * r4) * r4;
  const I64x2 exponent = std::bit_cast<I64x2>(shifted) + 1023;
  return p * std::bit_cast<F64x2>(exponent << 52);
}

/// Per lane: smallest, largest, and all bits set once a NaN or +infinity was there.
struct LaneRange {
  F32x4 low = F32x4{} + kInfinity;
  F32x4 high = F32x4{} - kInfinity;
  I32x4 bad{};
  void take(F32x4 values) {
    low = values < low ? values : low;
    high = values > high ? values : high;
    bad |= ~(values < kInfinity);  // NaN compares false
  }
};

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
  LaneRange lanes;
  LaneRange more;  // two chains of comparisons, so that one need not wait for the other
  size_t i = 0;
  for (; i + 8 <= logits.size(); i += 8) {
    lanes.take(load<F32x4>(&logits[i]));
    more.take(load<F32x4>(&logits[i + 4]));
  }
  for (; i < logits.size(); ++i) more.take(F32x4{} + logits[i]);
  lanes.bad |= more.bad;
  LogitRange range{kInfinity, -kInfinity, true};
  for (int lane = 0; lane < 4; ++lane) {
    range.min = std::min({range.min, lanes.low[lane], more.low[lane]});
    range.max = std::max({range.max, lanes.high[lane], more.high[lane]});
    range.is_sane = range.is_sane && lanes.bad[lane] == 0;
  }
  return range;
}

SoftmaxWeights::SoftmaxWeights(float max, double temperature, double least)
    : max_(max),
      inverse_(std::min(1 / temperature, std::numeric_limits<double>::max())),
      least_(least) {
  LETHE_CHECK(temperature > 0 && max > -kInfinity && max < kInfinity);
}

void SoftmaxWeights::fill(std::span<const float> logits, double* weights) const {
  // Copies, or else every store to weights might change them.
  const auto weigh = [max = F64x2{} + max_, inverse = F64x2{} + inverse_,
                      least = F64x2{} + least_](F32x2 pair) {
    const F64x2 lowest = F64x2{} - 700;
    const F64x2 x = (__builtin_convertvector(pair, F64x2) - max) * inverse;
    const F64x2 weight = exp_nonpositive(select(x < lowest, lowest, x));
    return select((x < lowest) | (weight < least), F64x2{}, weight);
  };
  size_t i = 0;
  for (; i + 2 <= logits.size(); i += 2) {
    const F64x2 pair = weigh(load<F32x2>(&logits[i]));
    std::memcpy(weights + i, &pair, sizeof pair);
  }
  if (i < logits.size()) weights[i] = weigh(F32x2{} + logits[i])[0];
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
