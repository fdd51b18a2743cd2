#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/e8m0_value.h"

// What the NEON kernels share. Only for translation units with wide flags, so all of it is in an
// unnamed namespace and uses no library.

namespace lethe::kernels {
namespace {

#define LETHE_NEON_INLINE [[gnu::always_inline]] inline

template <typename T>
LETHE_NEON_INLINE T load(const void* p) noexcept {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}
// By bytes: rows lie at any address.
LETHE_NEON_INLINE uint8x16_t load_bytes(const void* p) noexcept {
  return vld1q_u8(static_cast<const uint8_t*>(p));
}
LETHE_NEON_INLINE int8x16_t load_codes(const void* p) noexcept {
  return vreinterpretq_s8_u8(load_bytes(p));
}
LETHE_NEON_INLINE float32x4_t load_f32(const void* p) noexcept {
  return vreinterpretq_f32_u8(load_bytes(p));
}

/// sums + a * b, rounded twice.
LETHE_NEON_INLINE float32x4_t add_product(float32x4_t sums, float32x4_t a, float32x4_t b) noexcept {
  return vaddq_f32(sums, vmulq_f32(a, b));
}

/// The sum of 16 lanes, 4 vectors, in the tree of kernel_table.h.
LETHE_NEON_INLINE float sum_lanes(const float32x4_t* v) noexcept {
  const float32x4_t four = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

/// Rows become columns.
LETHE_NEON_INLINE void turn(const float32x4_t* rows, float32x4_t* columns) noexcept {
  const float32x4_t even01 = vtrn1q_f32(rows[0], rows[1]);  // elements 0 and 2
  const float32x4_t odd01 = vtrn2q_f32(rows[0], rows[1]);
  const float32x4_t even23 = vtrn1q_f32(rows[2], rows[3]);
  const float32x4_t odd23 = vtrn2q_f32(rows[2], rows[3]);
  const auto low = [](float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  };
  const auto high = [](float32x4_t a, float32x4_t b) {
    return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
  };
  columns[0] = low(even01, even23);
  columns[1] = low(odd01, odd23);
  columns[2] = high(even01, even23);
  columns[3] = high(odd01, odd23);
}

}  // namespace
}  // namespace lethe::kernels
