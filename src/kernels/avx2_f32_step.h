#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// What f32 tiles and few long rows are multiplied with; only for translation units with wide flags.
// The 16 lanes of a sum are two vectors, the first and the last 8 columns of a piece, which meet
// only at the end, so each half of a row's columns is multiplied by itself: 4 rows with 2 tokens,
// which with their weights fill the registers. Multiplications and additions are separate, as in
// the scalar set, and on most processors have units of their own.

namespace lethe::kernels {
namespace {

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kPiece = 16;          // columns
constexpr int64_t kLanes = 8;           // of a vector: half a piece
constexpr int64_t kRowsTogether = 4;    // of a step
constexpr int64_t kTokensTogether = 2;  // of a step

LETHE_AVX2_INLINE int64_t least(int64_t a, int64_t b) noexcept {
  return a < b ? a : b;
}

/// Sums of 8 lanes each.
using StepSums = __m256[kTokensTogether][kRowsTogether];

/// sums += half a piece of 4 rows, kRowStride numbers apart, times that of 2 tokens. The empty
/// statements keep it in order: a weight is loaded once, and not so early that sums have to leave
/// their registers for it.
template <int64_t kRowStride>
LETHE_AVX2_INLINE void multiply_piece(const float* weights, const float* x,
                                      StepSums& sums) noexcept {
  __m256 v[kTokensTogether];
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
    v[t] = _mm256_loadu_ps(x + t * kPiece);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRowsTogether; ++r) {
    __m256 w = _mm256_load_ps(weights + r * kRowStride);
    asm("" : "+x"(w));
#pragma GCC unroll 2
    for (int t = 0; t < kTokensTogether; ++t) {
      sums[t][r] = _mm256_add_ps(sums[t][r], _mm256_mul_ps(v[t], w));
      asm("" : "+x"(sums[t][r]));
    }
  }
}

/// The dots of 4 rows with 2 tokens: the lanes of their sums in the scalar set's tree, l += l + 8,
/// then l + 4, l + 2, l + 1.
LETHE_AVX2_INLINE void sum_lanes(const StepSums& first, const StepSums& last,
                                 __m128* out) noexcept {
  __m256 two[kTokensTogether];  // 2 lanes of rows 0, 2 | 1, 3
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
    __m256 eight[kRowsTogether];
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) eight[r] = _mm256_add_ps(first[t][r], last[t][r]);
    __m256 four[2];  // 4 lanes of rows 0 | 1, and of 2 | 3
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const __m256 a = eight[2 * i];
      const __m256 b = eight[2 * i + 1];
      four[i] =
          _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
    two[t] = _mm256_add_ps(_mm256_shuffle_ps(four[0], four[1], 0x44),
                           _mm256_shuffle_ps(four[0], four[1], 0xee));
  }
  const __m256 dots = _mm256_add_ps(_mm256_shuffle_ps(two[0], two[1], 0x88),
                                    _mm256_shuffle_ps(two[0], two[1], 0xdd));
  const __m128 even = _mm256_castps256_ps128(dots);  // rows 0, 2 of one token, then of the other
  const __m128 odd = _mm256_extractf128_ps(dots, 1);
  out[0] = _mm_unpacklo_ps(even, odd);
  out[1] = _mm_unpackhi_ps(even, odd);
}

/// Puts `rows` by `tokens` of them to out[token * stride + row].
LETHE_AVX2_INLINE void put_step(const StepSums& first, const StepSums& last, int64_t rows,
                                int64_t tokens, float* out, int64_t stride) noexcept {
  __m128 dots[kTokensTogether];
  sum_lanes(first, last, dots);
  for (int64_t t = 0; t < tokens; ++t) {
    if (rows == kRowsTogether) {
      _mm_storeu_ps(out + t * stride, dots[t]);
    } else {
      __builtin_memcpy(out + t * stride, dots + t, static_cast<size_t>(rows) * sizeof(float));
    }
  }
}

}  // namespace
}  // namespace lethe::kernels
