#include "kernels/avx512.h"
#include "kernels/avx512_f32_step.h"

// Few long f32 rows with 16 tokens: part by part of the columns, whose tokens are put side by side
// in the first cache. A sum is 16 lanes, one vector, unfused; those of all rows and tokens wait in
// the cache between parts.

namespace lethe::kernels {

namespace {

constexpr int kTogether = kFewRowsTogether;  // rows, and tokens, of a step
constexpr int64_t kPiece = kFewRowsPiece;
constexpr int64_t kStep = kTogether * kPiece;  // numbers of kTogether rows or tokens
constexpr int64_t kGroups = kFewRowsTokens / kTogether;

/// Columns of the tokens of a part: kTogether tokens after the other, laid out as rows are.
void put_side_by_side(const float* tokens, int64_t stride, int64_t count, int64_t columns,
                      float* out) noexcept {
  for (int64_t t = 0; t < kFewRowsTokens; ++t) {
    float* to = out + t / kTogether * kTogether * columns + t % kTogether * kPiece;
    const float* from = tokens + t * stride;
    for (int64_t i = 0; i < columns; i += kPiece, to += kStep) {
      if (t >= count) {
        _mm512_store_ps(to, _mm512_setzero_ps());
        continue;
      }
      __builtin_prefetch(from + i + kFewRowsPart);  // the next part; past the row it does no harm
      _mm512_store_ps(to, _mm512_loadu_ps(from + i));
    }
  }
}

void few_rows_dot(const float* packed, int64_t num_rows, int64_t n, const float* tokens,
                  int64_t stride, int64_t count, float* out) noexcept {
  alignas(64) float x[kFewRowsTokens * kFewRowsPart];
  __m512 totals[kMostFewRows / kTogether][kFewRowsTokens][kTogether];
  const int64_t row_groups = (num_rows + kTogether - 1) / kTogether;
  for (int64_t g = 0; g < row_groups; ++g) {
    for (auto& token : totals[g]) {
      for (__m512& total : token) total = _mm512_setzero_ps();
    }
  }
  for (int64_t begin = 0; begin < n; begin += kFewRowsPart) {
    const int64_t columns = n - begin < kFewRowsPart ? n - begin : kFewRowsPart;
    put_side_by_side(tokens + begin, stride, count, columns, x);
    for (int64_t g = 0; g < row_groups; ++g, packed += kTogether * columns) {
      for (int64_t t = 0; t < kGroups && t * kTogether < count; ++t) {
        multiply_4x4<kStep>(packed, x + t * kTogether * columns, columns / kPiece,
                            totals[g] + t * kTogether);
      }
    }
  }
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      out[t * num_rows + r] = sum_lanes(totals[r / kTogether][t][r % kTogether]);
    }
  }
}

}  // namespace

void install_avx512_few_rows(KernelTable& table) noexcept {
  table.few_rows_dot = few_rows_dot;
}

}  // namespace lethe::kernels
