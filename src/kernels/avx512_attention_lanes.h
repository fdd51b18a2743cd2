#pragma once

#include <immintrin.h>

#include "kernels/attention_loop.h"

// What both attention kernels with 512-bit vectors give to the loop over blocks of keys. Only for
// translation units with wide flags.

namespace lethe::kernels {

namespace {

LETHE_INLINE __mmask16 first_lanes(int64_t n) noexcept {
  return n >= 16 ? static_cast<__mmask16>(0xffff) : static_cast<__mmask16>((1u << n) - 1);
}

/// Arithmetic of attention_loop.h, 16 lanes.
struct Avx512Lanes {
  using Vec = __m512;
  static constexpr int64_t kWidth = 16;
  LETHE_INLINE static Vec load(const float* p) noexcept { return _mm512_loadu_ps(p); }
  LETHE_INLINE static void store(float* p, Vec v) noexcept { _mm512_storeu_ps(p, v); }
  LETHE_INLINE static Vec set(float x) noexcept { return _mm512_set1_ps(x); }
  LETHE_INLINE static Vec add(Vec a, Vec b) noexcept { return _mm512_add_ps(a, b); }
  LETHE_INLINE static Vec sub(Vec a, Vec b) noexcept { return _mm512_sub_ps(a, b); }
  LETHE_INLINE static Vec mul(Vec a, Vec b) noexcept { return _mm512_mul_ps(a, b); }
  LETHE_INLINE static Vec fma(Vec a, Vec b, Vec c) noexcept { return _mm512_fmadd_ps(a, b, c); }
  LETHE_INLINE static Vec max(Vec a, Vec b) noexcept { return _mm512_max_ps(a, b); }
  LETHE_INLINE static Vec round(Vec v) noexcept {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  LETHE_INLINE static Vec scale(Vec v, Vec n) noexcept { return _mm512_scalef_ps(v, n); }
  LETHE_INLINE static Vec zero_if_below(Vec x, float limit, Vec v) noexcept {
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(x, set(limit), _CMP_LT_OQ),
                              _mm512_setzero_ps());
  }
};

}  // namespace

}  // namespace lethe::kernels
