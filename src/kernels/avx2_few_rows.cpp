#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2.h"

// Few long f32 rows with 16 tokens: part by part of the columns, whose tokens are put side by side
// in the first cache. The 16 lanes of a sum are two vectors, the first and the last 8 columns of a
// piece, which meet only at the end: each is summed by itself, unfused, 4 rows with 2 tokens, which
// with their rows fill the registers. Sums wait in the cache between parts.

namespace lethe::kernels {

namespace {

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int kRows = kFewRowsTogether;
constexpr int kTokens = 2;
constexpr int64_t kPiece = kFewRowsPiece;
constexpr int64_t kHalf = kPiece / 2;
constexpr int64_t kRowStep = kRows * kPiece;      // numbers of kRows rows
constexpr int64_t kTokenStep = kTokens * kPiece;  // numbers of kTokens tokens

/// Columns of the tokens of a part: kTokens tokens after the other, piece by piece.
void put_side_by_side(const float* tokens, int64_t stride, int64_t count, int64_t columns,
                      float* out) noexcept {
  for (int64_t t = 0; t < (count + kTokens - 1) / kTokens * kTokens; ++t) {
    float* to = out + t / kTokens * kTokens * columns + t % kTokens * kPiece;
    const float* from = tokens + t * stride;
    for (int64_t i = 0; i < columns; i += kPiece, to += kTokenStep) {
      __m256 v[2] = {};
      if (t < count) {
        __builtin_prefetch(from + i + kFewRowsPart);  // the next part; past the row it does no harm
        v[0] = _mm256_loadu_ps(from + i);
        v[1] = _mm256_loadu_ps(from + i + kHalf);
      }
      _mm256_store_ps(to, v[0]);
      _mm256_store_ps(to + kHalf, v[1]);
    }
  }
}

/// totals += 8 lanes of `pieces` pieces of 2 tokens and 4 rows.
LETHE_AVX2_INLINE void multiply(const float* rows, const float* tokens, int64_t pieces,
                                __m256 (*totals)[kRows]) noexcept {
  __m256 sums[kTokens][kRows];
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sums[t][r] = totals[t][r];
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < pieces; ++i, rows += kRowStep, tokens += kTokenStep) {
    __m256 w[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      w[r] = _mm256_load_ps(rows + r * kPiece);
      asm("" : "+x"(w[r]));  // once, not as an operand of each product
    }
#pragma GCC unroll 2
    for (int t = 0; t < kTokens; ++t) {
      const __m256 x = _mm256_load_ps(tokens + t * kPiece);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        sums[t][r] = _mm256_add_ps(sums[t][r], _mm256_mul_ps(x, w[r]));
      }
    }
  }
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) totals[t][r] = sums[t][r];
  }
}

/// The lanes of a sum in the scalar set's tree: l += l + 8, then l + 4, l + 2, l + 1.
LETHE_AVX2_INLINE float sum_lanes(__m256 first, __m256 last) noexcept {
  const __m256 eight = _mm256_add_ps(first, last);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

void few_rows_dot(const float* packed, int64_t num_rows, int64_t n, const float* tokens,
                  int64_t stride, int64_t count, float* out) noexcept {
  alignas(64) float x[kFewRowsTokens * kFewRowsPart];
  __m256 totals[2][kMostFewRows / kRows][kFewRowsTokens][kRows];
  __builtin_memset(totals, 0, sizeof(totals));
  const int64_t row_groups = (num_rows + kRows - 1) / kRows;
  for (int64_t begin = 0; begin < n; begin += kFewRowsPart) {
    const int64_t columns = n - begin < kFewRowsPart ? n - begin : kFewRowsPart;
    put_side_by_side(tokens + begin, stride, count, columns, x);
    for (int64_t g = 0; g < row_groups; ++g, packed += kRows * columns) {
      for (int64_t t = 0; t < count; t += kTokens) {
        for (int64_t h = 0; h < 2; ++h) {
          multiply(packed + h * kHalf, x + t * columns + h * kHalf, columns / kPiece,
                   totals[h][g] + t);
        }
      }
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      out[t * num_rows + r] =
          sum_lanes(totals[0][r / kRows][t][r % kRows], totals[1][r / kRows][t][r % kRows]);
    }
  }
}

}  // namespace

void install_avx2_few_rows(KernelTable& table) noexcept {
  table.few_rows_dot = few_rows_dot;
}

}  // namespace lethe::kernels
