#pragma once

#include "kernels/row_dot.h"

// Rows of FP8 whose scales the activations can take on, once for all of them. Only for translation
// units with wide flags.

namespace lethe::kernels {
namespace {

constexpr int kRange = 40;

/// Whether the rows have one scale for each tile between them, powers of two within 2^+-kRange, of
/// tiles that are multiples of `step` columns.
bool share_plain_scales(const WeightRow* rows, int64_t num_rows, int64_t n, int step) noexcept {
  const WeightRow& row = rows[0];
  if (row.scales_f32 || row.scale_block % step != 0) return false;
  const int64_t tiles = (n + row.scale_block - 1) / row.scale_block;
  for (int64_t r = 1; r < num_rows; ++r) {
    if (rows[r].scales == row.scales) continue;  // the next row of the same tiles
    if (__builtin_memcmp(rows[r].scales, row.scales, static_cast<size_t>(tiles)) != 0) return false;
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int exponent = static_cast<int>(row.scales[tile]) - 127;
    if (exponent < -kRange || exponent > kRange) return false;
  }
  return true;
}

/// How many rows from the first on share its row of scales.
int64_t rows_alike(const WeightRow* rows, int64_t num_rows) noexcept {
  int64_t alike = 1;
  while (alike < num_rows && rows[alike].scales == rows[0].scales) ++alike;
  return alike;
}

/// How many of the rows, `most` at most, to take together: those that share a row of scales. Or
/// where so few do that giving their scales to the activations would not pay, all up to where more
/// do.
int64_t rows_sharing_scales(const WeightRow* rows, int64_t num_rows, int64_t most) noexcept {
  constexpr int64_t kLeast = 16;
  if (num_rows < most) most = num_rows;
  int64_t count = rows_alike(rows, most);
  if (count >= kLeast) return count;
  while (count < most) {
    const int64_t more = rows_alike(rows + count, most - count);
    if (more >= kLeast) break;
    count += more;
  }
  return count;
}

}  // namespace
}  // namespace lethe::kernels
