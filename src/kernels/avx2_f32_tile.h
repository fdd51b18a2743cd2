#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

// Tiles in f32 with 256-bit vectors; only for translation units with wide flags. The 16 lanes of a
// sum are two vectors, the first and the last 8, which meet only at the end, so each half of a
// row's columns is multiplied by itself: 4 rows with 2 tokens, which with their weights fill the
// registers. Multiplications and additions are separate, as in the scalar set, and on most
// processors have units of their own.
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

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kPiece = 16;          // columns
constexpr int64_t kLanes = 8;           // of a vector: half a piece
constexpr int64_t kPart = 16;           // pieces
constexpr int64_t kRowsTogether = 4;    // of a step
constexpr int64_t kTokensTogether = 2;  // of a step
constexpr int64_t kPanelsTogether = 2;
constexpr int kUnrolled = 4;  // pieces of a loop
constexpr int64_t kPieceFloats = kPanelRows * kPiece;
constexpr int64_t kStepFloats = kRowsTogether * kLanes;
static_assert(kUnrolled * kRowsTogether == kPanelRows);  // each fetches its share of a part

LETHE_AVX2_INLINE int64_t least(int64_t a, int64_t b) noexcept {
  return a < b ? a : b;
}

/// Sums of 8 lanes each.
using StepSums = __m256[kTokensTogether][kRowsTogether];
/// Of all tokens.
using RowSums = StepSums[kTileTokens / kTokensTogether];
/// Of both halves of all rows of a panel.
using PanelSums = RowSums[kPanelRows / kRowsTogether][2];

/// sums += half a piece of 4 rows times that of 2 tokens. The empty statements keep it in order: a
/// weight is loaded once, and not so early that sums have to leave their registers for it.
LETHE_AVX2_INLINE void multiply_piece(const float* weights, const float* x,
                                      StepSums& sums) noexcept {
  __m256 v[kTokensTogether];
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
    v[t] = _mm256_loadu_ps(x + t * kPiece);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRowsTogether; ++r) {
    __m256 w = _mm256_load_ps(weights + r * kLanes);
    asm("" : "+x"(w));
#pragma GCC unroll 2
    for (int t = 0; t < kTokensTogether; ++t) {
      sums[t][r] = _mm256_add_ps(sums[t][r], _mm256_mul_ps(v[t], w));
      asm("" : "+x"(sums[t][r]));
    }
  }
}

/// The same for `pieces` of them, added to `totals`, which begin with zeros if `begins`. For each 4
/// it fetches a piece of one token from `ahead` on.
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
      multiply_piece(weights + i * kStepFloats, x + i * kPieceFloats, sums);
    }
    weights += kUnrolled * kStepFloats;
    x += kUnrolled * kPieceFloats;
  }
#pragma GCC unroll 1
  for (; pieces > 0; --pieces, weights += kStepFloats, x += kPieceFloats) {
    multiply_piece(weights, x, sums);
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

/// All dots of a panel, to out[token * out_stride + row].
LETHE_AVX2_INLINE void put_dots(const PanelSums& totals, int64_t num_rows, int64_t num_tokens,
                                float* out, int64_t out_stride) noexcept {
  for (int64_t r = 0; r < num_rows; r += kRowsTogether) {
    const auto& halves = totals[r / kRowsTogether];
    const int64_t rows = least(num_rows - r, kRowsTogether);
    for (int64_t t = 0; t < num_tokens; t += kTokensTogether) {
      __m128 dots[kTokensTogether];
      sum_lanes(halves[0][t / kTokensTogether], halves[1][t / kTokensTogether], dots);
      for (int64_t k = 0; k < least(num_tokens - t, kTokensTogether); ++k) {
        float* const to = out + (t + k) * out_stride + r;
        if (rows == kRowsTogether) {
          _mm_storeu_ps(to, dots[k]);
        } else {
          __builtin_memcpy(to, dots + k, static_cast<size_t>(rows) * sizeof(float));
        }
      }
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
