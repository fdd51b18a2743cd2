#pragma once

#include "kernels/avx2_f32_step.h"
#include "kernels/kernel_table.h"

// Tiles in f32 with 256-bit vectors, step by step of avx2_f32_step.h; only for translation units
// with wide flags.
//
// A step loads and stores its sums once per part of the columns, so parts should be long; but the
// tokens' part must stay in the first cache while all rows pass by. Weights are read once, in the
// order of the panel:
//
//   [part of 16 pieces][4 rows][half][piece of 16 columns][row][8 columns]
//
// decoded to f32, with zeros for what is missing to whole pieces and 16 rows. The activations are
// f32 in the same pieces, 16 tokens each (tile_dot.h); two panels are multiplied with a part of
// them while it is there.

namespace lethe::kernels {
namespace {

constexpr int64_t kPart = 16;  // pieces
constexpr int64_t kPanelsTogether = 2;
constexpr int kUnrolled = 4;  // pieces of a loop
constexpr int64_t kPieceFloats = kPanelRows * kPiece;
constexpr int64_t kStepFloats = kRowsTogether * kLanes;
static_assert(kUnrolled * kRowsTogether == kPanelRows);  // each fetches its share of a part

/// Sums of all tokens.
using RowSums = StepSums[kTileTokens / kTokensTogether];
/// Of both halves of all rows of a panel.
using PanelSums = RowSums[kPanelRows / kRowsTogether][2];

/// sums of `pieces` half pieces of 4 rows and 2 tokens, added to `totals`, which begin with zeros
/// if `begins`. For each 4 it fetches a piece of one token from `ahead` on.
LETHE_AVX2_INLINE void multiply(const float* weights, const float* x, int64_t pieces,
                                const float* ahead, bool begins, StepSums& totals) noexcept {
  StepSums sums;
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) {
      sums[t][r] = begins ? _mm256_setzero_ps() : totals[t][r];
    }
  }
  for (; pieces >= kUnrolled; pieces -= kUnrolled) {
    __builtin_prefetch(ahead);
    ahead += kPieceFloats;
#pragma GCC unroll 4
    for (int i = 0; i < kUnrolled; ++i) {
      multiply_piece<kLanes>(weights + i * kStepFloats, x + i * kPieceFloats, sums);
    }
    weights += kUnrolled * kStepFloats;
    x += kUnrolled * kPieceFloats;
  }
#pragma GCC unroll 1
  for (; pieces > 0; --pieces, weights += kStepFloats, x += kPieceFloats) {
    multiply_piece<kLanes>(weights, x, sums);
  }
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) totals[t][r] = sums[t][r];
  }
}

/// A part of up to 16 rows with a part of up to 16 tokens. Meanwhile the tokens' next part is
/// fetched, a share with each step: its lines are too far apart for the machine to foresee. After
/// the last part of a tile that is often the next tile.
LETHE_AVX2_INLINE void multiply_part(const float* weights, const float* x, int64_t pieces,
                                     int64_t num_rows, int64_t num_tokens, bool begins,
                                     PanelSums& totals) noexcept {
  for (int64_t r = 0; r < num_rows; r += kRowsTogether) {
    const float* const ahead = x + (kPart + kPart / kPanelRows * r) * kPieceFloats;
    for (int half = 0; half < 2; ++half, weights += pieces * kStepFloats) {
      StepSums* sums = totals[r / kRowsTogether][half];
      for (int64_t t = 0; t < num_tokens; t += kTokensTogether, ++sums) {
        multiply(weights, x + half * kLanes + t * kPiece, pieces, ahead + (t + half) * kPiece,
                 begins, *sums);
      }
    }
  }
}

/// All dots of a panel, to out[token * out_stride + row].
LETHE_AVX2_INLINE void put_dots(const PanelSums& totals, int64_t num_rows, int64_t num_tokens,
                                float* out, int64_t out_stride) noexcept {
  for (int64_t r = 0; r < num_rows; r += kRowsTogether) {
    const auto& halves = totals[r / kRowsTogether];
    for (int64_t t = 0; t < num_tokens; t += kTokensTogether) {
      put_step(halves[0][t / kTokensTogether], halves[1][t / kTokensTogether],
               least(num_rows - r, kRowsTogether), least(num_tokens - t, kTokensTogether),
               out + t * out_stride + r, out_stride);
    }
  }
}

/// TileDot of such panels.
void dot_f32_tile(const std::byte* panels, int64_t num_rows, int64_t n, const ActivationTile& tile,
                  float* out, int64_t out_stride) noexcept {
  PanelSums totals[kPanelsTogether];
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  const int64_t panel_floats = (pieces + 1) / 2 * 2 * kPieceFloats;
  for (int64_t begin = 0; begin < pieces; begin += kPart) {
    const float* weights = reinterpret_cast<const float*>(panels) + begin * kPieceFloats;
    for (int64_t r = 0; r < num_rows; r += kPanelRows, weights += panel_floats) {
      multiply_part(weights, tile.f32 + begin * kPieceFloats, least(pieces - begin, kPart),
                    least(num_rows - r, kPanelRows), tile.count, begin == 0,
                    totals[r / kPanelRows]);
    }
  }
  for (int64_t r = 0; r < num_rows; r += kPanelRows) {
    put_dots(totals[r / kPanelRows], least(num_rows - r, kPanelRows), tile.count, out + r,
             out_stride);
  }
}

}  // namespace
}  // namespace lethe::kernels
