#include "kernels/avx2.h"
#include "kernels/avx2_f32_step.h"

// Few long f32 rows with 16 tokens: part by part of the columns, whose tokens are put side by side
// in the first cache. Sums wait in the cache between parts.

namespace lethe::kernels {

namespace {

static_assert(kFewRowsPiece == kPiece && kFewRowsTogether == kRowsTogether);

constexpr int64_t kRowStep = kRowsTogether * kPiece;      // numbers of the rows of a step
constexpr int64_t kTokenStep = kTokensTogether * kPiece;  // numbers of its tokens

/// Columns of the tokens of a part: kTokensTogether tokens after the other, piece by piece.
void put_side_by_side(const float* tokens, int64_t stride, int64_t count, int64_t columns,
                      float* out) noexcept {
  for (int64_t t = 0; t < (count + 1) / kTokensTogether * kTokensTogether; ++t) {
    float* to =
        out + t / kTokensTogether * kTokensTogether * columns + t % kTokensTogether * kPiece;
    const float* from = tokens + t * stride;
    for (int64_t i = 0; i < columns; i += kPiece, to += kTokenStep) {
      __m256 v[2] = {};
      if (t < count) {
        __builtin_prefetch(from + i + kFewRowsPart);  // the next part; past the row it does no harm
        v[0] = _mm256_loadu_ps(from + i);
        v[1] = _mm256_loadu_ps(from + i + kLanes);
      }
      _mm256_store_ps(to, v[0]);
      _mm256_store_ps(to + kLanes, v[1]);
    }
  }
}

/// Adds half of `columns` columns of a step's rows and tokens.
LETHE_AVX2_INLINE void multiply(const float* rows, const float* tokens, int64_t columns,
                                StepSums& totals) noexcept {
  StepSums sums;
  __builtin_memcpy(&sums, &totals, sizeof(sums));
#pragma GCC unroll 2
  for (int64_t i = 0; i < columns; i += kPiece, rows += kRowStep, tokens += kTokenStep) {
    multiply_piece<kPiece>(rows, tokens, sums);
  }
  __builtin_memcpy(&totals, &sums, sizeof(sums));
}

void few_rows_dot(const float* packed, int64_t num_rows, int64_t n, const float* tokens,
                  int64_t stride, int64_t count, float* out) noexcept {
  alignas(64) float x[kFewRowsTokens * kFewRowsPart];
  StepSums totals[kMostFewRows / kRowsTogether][kFewRowsTokens / kTokensTogether][2];
  __builtin_memset(totals, 0, sizeof(totals));
  for (int64_t begin = 0; begin < n; begin += kFewRowsPart) {
    const int64_t columns = least(n - begin, kFewRowsPart);
    put_side_by_side(tokens + begin, stride, count, columns, x);
    for (int64_t r = 0; r < num_rows; r += kRowsTogether, packed += kRowsTogether * columns) {
      for (int64_t t = 0; t < count; t += kTokensTogether) {
        StepSums* halves = totals[r / kRowsTogether][t / kTokensTogether];
        multiply(packed, x + t * columns, columns, halves[0]);
        multiply(packed + kLanes, x + t * columns + kLanes, columns, halves[1]);
      }
    }
  }
  for (int64_t r = 0; r < num_rows; r += kRowsTogether) {
    for (int64_t t = 0; t < count; t += kTokensTogether) {
      const StepSums* halves = totals[r / kRowsTogether][t / kTokensTogether];
      put_step(halves[0], halves[1], least(num_rows - r, kRowsTogether),
               least(count - t, kTokensTogether), out + t * num_rows + r, num_rows);
    }
  }
}

}  // namespace

void install_avx2_few_rows(KernelTable& table) noexcept {
  table.few_rows_dot = few_rows_dot;
}

}  // namespace lethe::kernels
