#include "ops/reference_sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

namespace lethe::ops {

namespace {

constexpr size_t kLanes = 8;
constexpr size_t kAccumulators = 4;
constexpr size_t kWidth = kLanes * kAccumulators;
constexpr size_t kLevels = 4;

using LaneSums = std::array<float, kWidth>;

/// Adds `steps` rows of kWidth squares; every 2^power steps a level is emptied into the next.
LaneSums cascade(const float* x, size_t steps) {
  const size_t power = std::max<size_t>(4, static_cast<size_t>(std::bit_width(steps)) / kLevels);
  const size_t period = size_t{1} << power;
  std::array<LaneSums, kLevels> levels{};
  for (size_t step = 0; step < steps;) {
    for (size_t i = 0; i < kWidth; ++i) {
      const float value = x[step * kWidth + i];
      levels[0][i] += value * value;
    }
    ++step;
    if (step % period != 0) continue;
    for (size_t level = 1; level < kLevels; ++level) {
      for (size_t i = 0; i < kWidth; ++i) levels[level][i] += levels[level - 1][i];
      levels[level - 1] = LaneSums{};
      if ((step & ((period - 1) << (level * power))) != 0) break;
    }
  }
  for (size_t level = 1; level < kLevels; ++level) {
    for (size_t i = 0; i < kWidth; ++i) levels[0][i] += levels[level][i];
  }
  return levels[0];
}

}  // namespace

float reference_sum_of_squares(std::span<const float> x) {
  const size_t steps = x.size() / kWidth;
  LaneSums sums = cascade(x.data(), steps);
  size_t at = steps * kWidth;
  for (; at + kLanes <= x.size(); at += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += x[at + lane] * x[at + lane];
  }
  for (size_t a = 1; a < kAccumulators; ++a) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += sums[a * kLanes + lane];
  }
  float total = 0;
  for (; at < x.size(); ++at) total += x[at] * x[at];
  for (size_t lane = 0; lane < kLanes; ++lane) total += sums[lane];
  return total;
}

}  // namespace lethe::ops
