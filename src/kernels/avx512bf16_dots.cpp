#include "kernels/avx512_vectors.h"
#include "kernels/avx512bf16.h"

namespace lethe::kernels {

namespace {

constexpr int64_t kPiece = 32;  // elements of a vector
constexpr int64_t kBlock = 512;
constexpr int kTogether = 4;  // rows, and tokens, of a step of a tile

LETHE_AVX512_INLINE __m512 add_pairs(__m512 sums, __m512i w, __m512i x) noexcept {
  return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
}
LETHE_AVX512_INLINE __mmask32 first_lanes(int64_t count) noexcept {
  return static_cast<__mmask32>(count >= kPiece ? ~uint64_t{0} : (uint64_t{1} << count) - 1);
}

// --- rows with one token

float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  const std::byte* w = row.data;
  const uint16_t* x = token.bf16;
  __m512 total = _mm512_setzero_ps();
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    __m512 sums = _mm512_setzero_ps();
    int64_t i = begin;
    for (; i + kPiece <= end; i += kPiece) {
      sums = add_pairs(sums, load512(w + 2 * i), load512(x + i));
    }
    if (i < end) {
      const __mmask32 rest = first_lanes(end - i);
      sums = add_pairs(sums, _mm512_maskz_loadu_epi16(rest, w + 2 * i),
                       _mm512_maskz_loadu_epi16(rest, x + i));
    }
    total = _mm512_add_ps(total, sums);
  }
  const __m512 pairs = _mm512_add_ps(total, _mm512_permute_ps(total, 0xB1));
  const __m512 quarters = _mm512_add_ps(pairs, _mm512_permute_ps(pairs, 0x4E));
  const __m256 two =
      _mm256_add_ps(_mm512_castps512_ps256(quarters), _mm512_extractf32x8_ps(quarters, 1));
  return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(two), _mm256_extractf128_ps(two, 1)));
}

void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; ++r) out[r] = dot_one(rows[r], n, token);
}

void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t t = 0; t < num_tokens; ++t) out[t] = dot_one(row, n, tokens[t]);
}

// --- tiles: a panel holds 32 columns of 16 rows after the other, row by row, padded with zeros.

constexpr int64_t kPieceBytes = kPanelRows * 2 * kPiece;

void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  for (int64_t r = 0; r < kPanelRows; ++r) {
    std::byte* out = panel + r * 2 * kPiece;
    for (int64_t i = 0; i < n; i += kPiece, out += kPieceBytes) {
      __m512i w = _mm512_setzero_si512();
      if (r < num_rows) w = _mm512_maskz_loadu_epi16(first_lanes(n - i), rows[r].data + 2 * i);
      _mm512_store_si512(out, w);
    }
  }
}

/// 32 columns of kTogether rows and kTokens tokens.
template <int kTokens>
LETHE_AVX512_INLINE void add_piece(const std::byte* weights, const uint16_t* const* x,
                                   int64_t column, __mmask32 present,
                                   __m512 (*sums)[kTogether]) noexcept {
  __m512i w[kTogether];
#pragma GCC unroll 4
  for (int r = 0; r < kTogether; ++r) w[r] = load512(weights + 2 * kPiece * r);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m512i v = _mm512_maskz_loadu_epi16(present, x[t] + column);
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[t][r] = add_pairs(sums[t][r], w[r], v);
  }
}

/// Adds columns [begin, end), a block or the end of a row, of kTogether rows. panel: of the first.
template <int kTokens>
void multiply(const std::byte* panel, int64_t begin, int64_t end, const Activation* tokens,
              __m512 (*totals)[kTogether]) noexcept {
  const uint16_t* x[kTokens];
  __m512 sums[kTokens][kTogether];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    x[t] = tokens[t].bf16;
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[t][r] = _mm512_setzero_ps();
  }
  const std::byte* weights = panel + begin / kPiece * kPieceBytes;
  int64_t i = begin;
  for (; i + kPiece <= end; i += kPiece, weights += kPieceBytes) {
    add_piece<kTokens>(weights, x, i, ~__mmask32{0}, sums);
  }
  if (i < end) add_piece<kTokens>(weights, x, i, first_lanes(end - i), sums);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) totals[t][r] = _mm512_add_ps(totals[t][r], sums[t][r]);
  }
}

/// In each quarter a0 + a1, a2 + a3, b0 + b1, b2 + b3.
LETHE_AVX512_INLINE __m512 add_neighbours(__m512 a, __m512 b) noexcept {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xDD));
}

/// The sums of 16 rows' lanes, a lane each; as dot_one adds them.
__m512 reduce16(const __m512 (*totals)[kTogether]) noexcept {
  __m512 quarters[4];  // of 4 rows each, a row for each place in a quarter
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
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    for (int64_t r = 0; r < num_rows; r += kTogether) {
      const std::byte* rows = panel + r * 2 * kPiece;
      auto* sums = totals[r / kTogether];
      int64_t t = 0;
      for (; t + kTogether <= tile.count; t += kTogether) {
        multiply<kTogether>(rows, begin, end, tile.tokens + t, sums + t);
      }
      for (; t < tile.count; ++t) multiply<1>(rows, begin, end, tile.tokens + t, sums + t);
    }
  }
  const auto present = static_cast<__mmask16>((1u << num_rows) - 1);
  for (int64_t t = 0; t < tile.count; ++t) {
    _mm512_mask_storeu_ps(out + t * out_stride, present, reduce16(totals[0] + t));
  }
}

}  // namespace

void install_avx512bf16_dots(KernelTable& table) noexcept {
  const auto index = static_cast<size_t>(quant::Encoding::BF16);
  table.own_bits[index] = true;
  table.row_dot[index] = row_dot;
  table.rows_dot[index] = rows_dot;
  table.tile[index] = {
      .group_bytes = kPieceBytes, .scale_multiple = 1, .pack = pack, .dot = tile_dot};
}

}  // namespace lethe::kernels
