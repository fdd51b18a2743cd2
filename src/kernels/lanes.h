#pragma once

#include <cstdint>

// Sums in a fixed number of lanes: the same bits on every machine, and a shape that compilers turn
// into vector instructions.

namespace lethe::kernels {

inline constexpr int kF32Lanes = 16;
inline constexpr int kF64Lanes = 8;

/// Adds the upper half of the lanes to the lower until one is left.
template <int kLanes, typename T>
T reduce_lanes(const T* lanes) noexcept {
  T sums[kLanes];
  for (int l = 0; l < kLanes; ++l) sums[l] = lanes[l];
  for (int half = kLanes / 2; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) sums[l] += sums[l + half];
  }
  return sums[0];
}

/// lanes[i % kLanes] += a[i] * b(i) for i < n, in order.
template <int kLanes, typename T, typename B>
void add_products(T* lanes, const float* a, int64_t n, B b) noexcept {
  T sums[kLanes];
  for (int l = 0; l < kLanes; ++l) sums[l] = lanes[l];
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) sums[l] += static_cast<T>(a[i + l]) * b(i + l);
  }
  for (int l = 0; i + l < n; ++l) sums[l] += static_cast<T>(a[i + l]) * b(i + l);
  for (int l = 0; l < kLanes; ++l) lanes[l] = sums[l];
}

}  // namespace lethe::kernels
