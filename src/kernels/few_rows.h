#pragma once

#include <cstdint>

// Dots of few but long f32 rows with many tokens, whose numbers are read once and where they lie:
// beside so few rows, putting tokens into tiles takes as long as multiplying them.

namespace lethe::kernels {

inline constexpr int64_t kMostFewRows = 32;
inline constexpr int64_t kFewRowsTokens = 16;   // that are taken at once
inline constexpr int64_t kFewRowsPart = 256;    // columns whose rows and tokens the caches hold
inline constexpr int64_t kFewRowsPiece = 16;    // columns that lie together
inline constexpr int64_t kFewRowsTogether = 4;  // rows

/// Rows of n columns, a multiple of kFewRowsPiece, as FewRowsDot reads them, num_rows rounded up to
/// kFewRowsTogether: kFewRowsPart columns after the other (the last may be fewer); of those
/// kFewRowsTogether rows after the other; of those kFewRowsPiece columns after the other, row by
/// row. This is where column `column`, the first of a piece, of row r lies.
constexpr int64_t few_rows_place(int64_t num_rows, int64_t n, int64_t r, int64_t column) {
  const int64_t rows = (num_rows + kFewRowsTogether - 1) / kFewRowsTogether * kFewRowsTogether;
  const int64_t part = column / kFewRowsPart * kFewRowsPart;
  const int64_t columns = n - part < kFewRowsPart ? n - part : kFewRowsPart;
  return part * rows + r / kFewRowsTogether * kFewRowsTogether * columns +
         (column - part) * kFewRowsTogether + r % kFewRowsTogether * kFewRowsPiece;
}

/// out[t * num_rows + r] = dot of row r with token t, in the order of KernelTable::dot_f32, for
/// r < num_rows <= kMostFewRows and t < count <= kFewRowsTokens. packed: on a cache line, missing
/// rows may be anything. tokens: f32 [count, n], row t at tokens + t * stride.
using FewRowsDot = void (*)(const float* packed, int64_t num_rows, int64_t n, const float* tokens,
                            int64_t stride, int64_t count, float* out) noexcept;

}  // namespace lethe::kernels
