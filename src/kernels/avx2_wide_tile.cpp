#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2.h"

// Tiles in f32. A panel holds 16 columns of 16 rows after the other, row by row, decoded to f32 and
// padded with zeros; the tile's activations are f32 in the same pieces (tile_dot.h). The 16 lanes
// of a sum are two vectors, the first and the last 8, which meet only at the end: each is summed by
// itself, 4 rows with 2 tokens, which with their weights fill the registers. Multiplications and
// additions are separate, as in the scalar set, and on most processors have units of their own.

namespace lethe::kernels {

namespace {

using quant::Encoding;

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kPiece = 16;      // columns
constexpr int64_t kLanes = 8;       // of a vector
constexpr int64_t kPart = 8;        // pieces that stay in the first cache
constexpr int kRowsTogether = 4;    // of a step
constexpr int kTokensTogether = 2;  // of a step
constexpr int64_t kPieceFloats = kPanelRows * kPiece;

LETHE_AVX2_INLINE __m128i load128(const void* p) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

// Rows: decode(p, out) makes two vectors of the 16 elements at p. A Row begins at any piece of a
// row and is asked for one after the other.

struct F32Row {
  static constexpr int64_t kElementBytes = 4;
  F32Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = _mm256_loadu_ps(reinterpret_cast<const float*>(p));
    out[1] = _mm256_loadu_ps(reinterpret_cast<const float*>(p) + kLanes);
  }
};

struct Bf16Row {
  static constexpr int64_t kElementBytes = 2;
  Bf16Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = widen(load128(p));
    out[1] = widen(load128(p + 16));
  }
  LETHE_AVX2_INLINE static __m256 widen(__m128i bf16) noexcept {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16));
  }
};

struct F16Row {
  static constexpr int64_t kElementBytes = 2;
  F16Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = _mm256_cvtph_ps(load128(p));
    out[1] = _mm256_cvtph_ps(load128(p + 16));
  }
};

/// e4m3 through f16: the same fields there mean 2^-8 of the value, exactly; NaN needs its own
/// exponent. Scales are per tile of a multiple of 16 elements.
struct Fp8Row {
  static constexpr int64_t kElementBytes = 1;
  const std::byte* scales;
  bool scales_f32;
  int64_t pieces_per_tile;
  int64_t pieces_left;
  __m256 scale;

  Fp8Row(const WeightRow& row, int64_t piece) noexcept
      : scales(row.scales), scales_f32(row.scales_f32), pieces_per_tile(row.scale_block / kPiece) {
    scales += piece / pieces_per_tile * (scales_f32 ? 4 : 1);
    next_tile();
    pieces_left -= piece % pieces_per_tile;
  }

  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    if (pieces_left == 0) next_tile();
    --pieces_left;
    const __m256i words = _mm256_cvtepu8_epi16(load128(p));
    const __m256i magnitude = _mm256_and_si256(words, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_srli_epi16(words, 7), 15);
    const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f));
    const __m256i halves = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign),
                                           _mm256_srli_epi16(nan, 1));
    out[0] = scaled(_mm256_castsi256_si128(halves));
    out[1] = scaled(_mm256_extracti128_si256(halves, 1));
  }
  LETHE_AVX2_INLINE __m256 scaled(__m128i halves) const noexcept {
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_set1_ps(256.0F)), scale);
  }
  LETHE_AVX2_INLINE void next_tile() noexcept {
    float s;
    if (scales_f32) {
      __builtin_memcpy(&s, scales, sizeof(s));
      scales += sizeof(s);
    } else {
      const auto e = static_cast<uint32_t>(*scales++);
      const uint32_t bits = e << 23 | (e == 0 || e == 255 ? 0x00400000u : 0u);
      __builtin_memcpy(&s, &bits, sizeof(s));
    }
    scale = _mm256_set1_ps(s);
    pieces_left = pieces_per_tile;
  }
};

/// Up to kPart pieces of a row from column `begin` on.
template <typename Row>
LETHE_AVX2_INLINE void pack_part(const WeightRow& row, int64_t begin, int64_t n,
                                 float* out) noexcept {
  Row decoder(row, begin / kPiece);
  const std::byte* p = row.data + begin * Row::kElementBytes;
  const int64_t end = n - begin < kPart * kPiece ? n : begin + kPart * kPiece;
  __m256 v[2];
  for (; begin + kPiece <= end; begin += kPiece, p += kPiece * Row::kElementBytes) {
    decoder.decode(p, v);
    _mm256_store_ps(out, v[0]);
    _mm256_store_ps(out + kLanes, v[1]);
    out += kPieceFloats;
  }
  if (begin < end) {
    alignas(32) std::byte rest[kPiece * Row::kElementBytes] = {};
    __builtin_memcpy(rest, p, static_cast<size_t>((end - begin) * Row::kElementBytes));
    decoder.decode(rest, v);
    _mm256_store_ps(out, v[0]);
    _mm256_store_ps(out + kLanes, v[1]);
  }
}

/// Part by part, so that all rows of one are written while it is in the first cache.
template <typename Row>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  auto* out = reinterpret_cast<float*>(panel);
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  for (int64_t p = 0; p < pieces; p += kPart) {
    for (int64_t r = 0; r < num_rows; ++r) {
      pack_part<Row>(rows[r], p * kPiece, n, out + p * kPieceFloats + r * kPiece);
    }
  }
  for (int64_t p = 0; p < pieces && num_rows < kPanelRows; ++p) {
    __builtin_memset(out + p * kPieceFloats + num_rows * kPiece, 0,
                     static_cast<size_t>((kPanelRows - num_rows) * kPiece) * sizeof(float));
  }
}

// --- multiplying

/// Sums of 8 lanes each: of all rows and tokens.
using TileSums = __m256[kTileTokens][kPanelRows];

/// Adds 8 lanes of `pieces` pieces of rows from `row` on and some tokens. weights, x, totals: of
/// the first of them.
LETHE_AVX2_INLINE void multiply(const float* weights, const float* x, int64_t pieces,
                                __m256 (*totals)[kPanelRows], int64_t row) noexcept {
  __m256 sums[kTokensTogether][kRowsTogether];
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) sums[t][r] = totals[t][row + r];
  }
  for (int64_t i = 0; i < pieces; ++i, weights += kPieceFloats, x += kPieceFloats) {
    __m256 w[kRowsTogether];
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) {
      w[r] = _mm256_load_ps(weights + r * kPiece);
      asm("" : "+x"(w[r]));  // once, not as an operand of each product: loads would be the limit
    }
#pragma GCC unroll 2
    for (int t = 0; t < kTokensTogether; ++t) {
      const __m256 v = _mm256_loadu_ps(x + t * kPiece);
#pragma GCC unroll 4
      for (int r = 0; r < kRowsTogether; ++r) {
        sums[t][r] = _mm256_add_ps(sums[t][r], _mm256_mul_ps(v, w[r]));
      }
    }
  }
#pragma GCC unroll 2
  for (int t = 0; t < kTokensTogether; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kRowsTogether; ++r) totals[t][row + r] = sums[t][r];
  }
}

/// The lanes of a sum in the scalar set's tree: l += l + 8, then l + 4, l + 2, l + 1.
LETHE_AVX2_INLINE float sum_lanes(__m256 first, __m256 last) noexcept {
  const __m256 eight = _mm256_add_ps(first, last);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

void dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  TileSums totals[2];
  __builtin_memset(totals, 0, sizeof(totals));
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  for (int64_t begin = 0; begin < pieces; begin += kPart) {
    const int64_t count = pieces - begin < kPart ? pieces - begin : kPart;
    const float* weights = reinterpret_cast<const float*>(panel) + begin * kPieceFloats;
    const float* x = tile.f32 + begin * kPieceFloats;
    for (int h = 0; h < 2; ++h, weights += kLanes, x += kLanes) {
      for (int64_t r = 0; r < num_rows; r += kRowsTogether) {
        for (int64_t t = 0; t < tile.count; t += kTokensTogether) {
          multiply(weights + r * kPiece, x + t * kPiece, count, totals[h] + t, r);
        }
      }
    }
  }
  for (int64_t t = 0; t < tile.count; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      out[t * out_stride + r] = sum_lanes(totals[0][t][r], totals[1][t][r]);
    }
  }
}

template <typename Row>
void set(KernelTable& table, Encoding encoding, int64_t scale_multiple) noexcept {
  TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
  tile.group_bytes = 2 * kPieceFloats * static_cast<int64_t>(sizeof(float));
  tile.scale_multiple = scale_multiple;
  tile.pack = pack<Row>;
  tile.dot = dot;
}

}  // namespace

void install_avx2_wide_tile(KernelTable& table) noexcept {
  set<F32Row>(table, Encoding::F32, 1);
  set<F16Row>(table, Encoding::F16, 1);
  set<Bf16Row>(table, Encoding::BF16, 1);
  set<Fp8Row>(table, Encoding::Fp8Block, kPiece);
  set<Fp8Row>(table, Encoding::Fp8Row, kPiece);
}

}  // namespace lethe::kernels
