#pragma once

#include "kernels/avx512_vectors.h"

// What f32 tiles and few long rows are multiplied with: the lanes of a sum are a vector, products
// and sums are rounded apart, as in the scalar set. Only for translation units of the AVX-512 sets.

namespace lethe::kernels {
namespace {

LETHE_AVX512_INLINE __m512 add_product(__m512 sums, __m512 a, __m512 b) noexcept {
  return _mm512_add_ps(sums, _mm512_mul_ps(a, b));
}

/// totals += `pieces` times 16 columns of 4 tokens and 4 rows: totals[token][row]. rows, tokens: on
/// a cache line, 16 columns of one after the other; the next columns are kStride numbers further.
template <int64_t kStride>
LETHE_AVX512_INLINE void multiply_4x4(const float* rows, const float* tokens, int64_t pieces,
                                      __m512 (*totals)[4]) noexcept {
  __m512 sums[4][4];
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) sums[t][r] = totals[t][r];
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < pieces; ++i, rows += kStride, tokens += kStride) {
    __m512 w[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) w[r] = _mm512_load_ps(rows + 16 * r);
#pragma GCC unroll 4
    for (int t = 0; t < 4; ++t) {
      const __m512 x = _mm512_load_ps(tokens + 16 * t);
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) sums[t][r] = add_product(sums[t][r], x, w[r]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < 4; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) totals[t][r] = sums[t][r];
  }
}

}  // namespace
}  // namespace lethe::kernels
