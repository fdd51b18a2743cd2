#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/attention.h"
#include "kernels/few_rows.h"
#include "kernels/index_scores.h"
#include "kernels/row_dot.h"
#include "kernels/tile_dot.h"

namespace lethe::kernels {

/// The leaf functions of one instruction set. Pure, no allocation, any thread, any alignment.
/// A result depends on the values and n only: not on threads, nor on the tokens beside it.
///
/// "In L lanes" is the order of a sum: element i is added to lane i % L, lanes start at 0, and are
/// reduced in a tree (lane l += lane l + L/2, then L/4, ...). Products and sums are rounded one by
/// one, never fused where that would show. The scalar set is the reference: the others give its
/// bits, but for which NaN a NaN is, and but for the encodings in `own_bits`.
struct KernelTable {
  std::string_view name;

  /// Sum of a[i] * b[i]. a, b: f32 [n]. f32 products and sums in 16 lanes.
  float (*dot_f32)(const float* a, const float* b, int64_t n) noexcept;
  /// Sum of a[i] * b[i]. a, b: f32 [n]. f64 products (exact) and sums in 8 lanes. For `official`.
  double (*dot_f64)(const float* a, const float* b, int64_t n) noexcept;
  /// acc[i] += s * x[i]. acc, x: f32 [n], not overlapping. Product and sum rounded to f32.
  void (*fma_row_f32)(float* acc, const float* x, float s, int64_t n) noexcept;
  /// The same for `count` rows, row k at rows + k * n with factor s[k], one row after the other.
  void (*fma_rows_f32)(float* acc, const float* rows, const float* s, int64_t count,
                       int64_t n) noexcept;
  /// fma_row_f32 with acc: f64 [n] and an f64 product. For `official`.
  void (*fma_row_f64)(double* acc, const float* x, double s, int64_t n) noexcept;

  /// x: f32 [n] to bf16 bits, nearest even; NaN stays NaN.
  void (*to_bf16)(const float* x, int64_t n, uint16_t* out) noexcept;
  /// quant::quantize_int8, and sums: [2 ceil(n / 32)], each of 16 codes.
  void (*quantize_int8)(const float* x, int64_t n, int8_t* codes, float* scales,
                        int32_t* sums) noexcept;

  /// gate[i] = scale * silu(min(gate[i], limit)) * clamp(up[i], -limit, limit); without a limit if
  /// that is 0. gate, up: f32 [n]. Each operation rounded; e^x to within 2 units in the last place.
  void (*swiglu)(float* gate, const float* up, int64_t n, float limit, float scale) noexcept;

  /// Dot products of one encoded weight row with several tokens, by quant::Encoding. A plain array:
  /// installers are compiled with wide flags and must not instantiate library functions.
  RowDot row_dot[quant::kNumEncodings];
  /// Encodings whose results are close to the scalar set's, not its bits: the set's header tells in
  /// which arithmetic. All of a set's own ways to a dot give the same bits.
  bool own_bits[quant::kNumEncodings];
  /// The same for several rows with one token; null where nothing is gained by taking rows
  /// together.
  RowsDot rows_dot[quant::kNumEncodings];
  /// out[r] = dot of bf16 row r, decoded as decode_row does, with the token's f32: the bits of
  /// row_dot[F32] of the decoded row. Null: decode first.
  RowsDot bf16_rows_with_f32;
  /// Many rows with many tokens, as row_dot, where the set has it.
  TileKernel tile[quant::kNumEncodings];
  /// The same for weights with f32 scales, where `tile` takes e8m0 only; else all zero.
  TileKernel f32_scale_tile[quant::kNumEncodings];
  const TileKernel& tile_of(quant::Encoding encoding, bool f32_scales) const noexcept {
    const auto index = static_cast<size_t>(encoding);
    return f32_scales && f32_scale_tile[index].pack != nullptr ? f32_scale_tile[index]
                                                               : tile[index];
  }

  /// A few long f32 rows with many tokens (few_rows.h). Null: as any other rows.
  FewRowsDot few_rows_dot;

  /// Whether weights stored as bf16 are multiplied with bf16 activations as such, not widened.
  bool multiplies_bf16(quant::Encoding encoding) const noexcept {
    return encoding == quant::Encoding::BF16 && tile[static_cast<size_t>(encoding)].reads_bf16;
  }

  /// The indexer's scores of keys as they are stored (index_scores.h).
  IndexScores index_scores;

  /// All heads' attention to a list of cached rows (attention.h). Not the same bits in all sets.
  Attend attend;
};

/// The best set that this machine can run (kernel_sets.h chooses others).
const KernelTable& kernel_table();

/// The set without instructions beyond the build's baseline.
const KernelTable& scalar_kernels() noexcept;

}  // namespace lethe::kernels
