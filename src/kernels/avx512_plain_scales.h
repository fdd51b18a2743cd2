#pragma once

#include "kernels/row_dot.h"

// Rows of FP8 whose scales the activations can take on, once for all of them. Only for translation
// units of the AVX-512 sets.

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

}  // namespace
}  // namespace lethe::kernels
