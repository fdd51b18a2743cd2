#pragma once

#include "kernels/avx512_vectors.h"
#include "kernels/tile_dot.h"

// Dots by vdpbf16ps in the order that avx512bf16.h writes down: of rows and of tiles, for weights
// whose elements are bf16 once they are read. Only for the translation units of that set.
//
// Weights has
//   kWidth                  columns of a step: 32 or 64
//   Weights(row)
//   load(column, count, w)  kWidth columns from a multiple of kWidth on, zeros past `count`, as
//                           vectors of 32 words
//
// A panel holds 4 rows after the other; of those, 32 columns after the other, row by row, padded
// with zeros. So what is multiplied in one go lies together and in all sets of the first cache.

namespace lethe::kernels {
namespace {

constexpr int64_t kPiece = 32;                // elements of a vector
constexpr int64_t kBlock = kBf16TileColumns;  // that are summed from zero
constexpr int kTogether = 4;                  // rows, and tokens, of a step of a tile
constexpr int64_t kPieceBytes = kTogether * 2 * kPiece;

/// Of kTogether rows.
LETHE_AVX512_INLINE int64_t rows_bytes(int64_t n) noexcept {
  return (n + kPiece - 1) / kPiece * kPieceBytes;
}

LETHE_AVX512_INLINE __m512 add_pairs(__m512 sums, __m512i w, __m512i x) noexcept {
  return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
}
LETHE_AVX512_INLINE __mmask32 first_lanes(int64_t count) noexcept {
  return static_cast<__mmask32>(count >= kPiece ? ~uint64_t{0}
                                : count <= 0    ? 0
                                                : (uint64_t{1} << count) - 1);
}

// --- rows with one token

/// The lanes of a row's sum, added up.
LETHE_AVX512_INLINE float sum_pairs(__m512 total) noexcept {
  const __m512 pairs = _mm512_add_ps(total, _mm512_permute_ps(total, 0xB1));
  const __m512 quarters = _mm512_add_ps(pairs, _mm512_permute_ps(pairs, 0x4E));
  const __m256 two =
      _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1)));
}

/// total + columns [begin, end) of a row, of which `begin` starts a block; x: of column `begin`.
template <typename Weights>
LETHE_AVX512_INLINE __m512 add_columns(const Weights& weights, int64_t begin, int64_t end,
                                       const uint16_t* x, __m512 total) noexcept {
  constexpr int kPieces = Weights::kWidth / kPiece;
  for (; begin < end; begin += kBlock, x += kBlock) {
    const int64_t count = end - begin < kBlock ? end - begin : kBlock;
    __m512 sums = _mm512_setzero_ps();
    __m512i w[kPieces];
    int64_t i = 0;
    for (; i + Weights::kWidth <= count; i += Weights::kWidth) {
      weights.load(begin + i, Weights::kWidth, w);
#pragma GCC unroll 2
      for (int p = 0; p < kPieces; ++p) sums = add_pairs(sums, w[p], load512(x + i + kPiece * p));
    }
    if (i < count) {
      weights.load(begin + i, count - i, w);
      for (int p = 0; p < kPieces && i < count; ++p, i += kPiece) {
        sums = add_pairs(sums, w[p], _mm512_maskz_loadu_epi16(first_lanes(count - i), x + i));
      }
    }
    total = _mm512_add_ps(total, sums);
  }
  return total;
}

template <typename Weights>
float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  return sum_pairs(add_columns(Weights(row), 0, n, token.bf16, _mm512_setzero_ps()));
}

// --- tiles

template <typename Weights>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  constexpr int kPieces = Weights::kWidth / kPiece;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    std::byte* out = panel + r / kTogether * rows_bytes(n) + r % kTogether * 2 * kPiece;
    if (r >= num_rows) {
      for (int64_t i = 0; i < n; i += kPiece, out += kPieceBytes) {
        _mm512_store_si512(out, _mm512_setzero_si512());
      }
      continue;
    }
    const Weights weights(rows[r]);
    for (int64_t i = 0; i < n; i += Weights::kWidth) {
      __m512i w[kPieces];
      weights.load(i, n - i, w);
      for (int p = 0; p < kPieces && i + p * kPiece < n; ++p, out += kPieceBytes) {
        _mm512_store_si512(out, w[p]);
      }
    }
  }
}

/// Adds `pieces` times 32 columns, a block or the end of a row, of kTogether rows and tokens. x: of
/// the first token, the next `pieces` pieces after it.
LETHE_AVX512_INLINE void multiply(const std::byte* weights, const uint16_t* x, int64_t pieces,
                                  __m512 (*totals)[kTogether]) noexcept {
  __m512 sums[kTogether][kTogether];
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[t][r] = _mm512_setzero_ps();
  }
#pragma GCC unroll 2
  for (int64_t i = 0; i < pieces; ++i, weights += kPieceBytes, x += kPiece) {
    __m512i w[kTogether];
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) w[r] = load512(weights + 2 * kPiece * r);
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      const __m512i v = load512(x + t * pieces * kPiece);
#pragma GCC unroll 4
      for (int r = 0; r < kTogether; ++r) sums[t][r] = add_pairs(sums[t][r], w[r], v);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) totals[t][r] = _mm512_add_ps(totals[t][r], sums[t][r]);
  }
}

/// In each quarter a0 + a1, a2 + a3, b0 + b1, b2 + b3.
LETHE_AVX512_INLINE __m512 add_neighbours(__m512 a, __m512 b) noexcept {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}

/// The sums of 16 rows' lanes, a lane each; as sum_pairs adds them.
LETHE_AVX512_INLINE __m512 reduce16(const __m512 (*totals)[kTogether]) noexcept {
  __m512 quarters[4];  // of 4 rows each, a row for each place in a quarter
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512* v = totals[i * kTileTokens];
    quarters[i] = add_neighbours(add_neighbours(v[0], v[1]), add_neighbours(v[2], v[3]));
  }
  const __m512 low = _mm512_add_ps(_mm512_shuffle_f32x4(quarters[0], quarters[1], 0x44),
                                   _mm512_shuffle_f32x4(quarters[0], quarters[1], 0xEE));
  const __m512 high = _mm512_add_ps(_mm512_shuffle_f32x4(quarters[2], quarters[3], 0x44),
                                    _mm512_shuffle_f32x4(quarters[2], quarters[3], 0xEE));
  return _mm512_add_ps(_mm512_shuffle_f32x4(low, high, 0x88),
                       _mm512_shuffle_f32x4(low, high, 0xDD));
}

/// Block by block: the columns of the tile and of 4 rows stay in the first cache.
void tile_dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
              float* out, int64_t out_stride) noexcept {
  __m512 totals[kPanelRows / kTogether][kTileTokens][kTogether];
  for (auto& rows : totals) {
    for (auto& token : rows) {
      for (__m512& total : token) total = _mm512_setzero_ps();
    }
  }
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t columns = n - begin < kBlock ? n - begin : kBlock;
    const int64_t pieces = (columns + kPiece - 1) / kPiece;
    const uint16_t* x = tile.bf16 + begin * kTileTokens;
    for (int64_t r = 0; r < num_rows; r += kTogether) {
      const std::byte* rows = panel + r / kTogether * rows_bytes(n) + begin / kPiece * kPieceBytes;
      for (int64_t t = 0; t < tile.count; t += kTogether) {
        multiply(rows, x + t * pieces * kPiece, pieces, totals[r / kTogether] + t);
      }
    }
  }
  const auto present = static_cast<__mmask16>((1u << num_rows) - 1);
  for (int64_t t = 0; t < tile.count; ++t) {
    _mm512_mask_storeu_ps(out + t * out_stride, present, reduce16(totals[0] + t));
  }
}

template <typename Weights>
constexpr TileKernel tile_kernel(int64_t scale_multiple) noexcept {
  return {.group_bytes = kPanelRows / kTogether * kPieceBytes,
          .scale_multiple = scale_multiple,
          .reads_bf16 = true,
          .pack = pack<Weights>,
          .dot = tile_dot};
}

}  // namespace
}  // namespace lethe::kernels
