#include "kernels/avx512.h"
#include "kernels/avx512_e4m3.h"
#include "kernels/plain_scales.h"

// Rows of e4m3 with one token, in f32: 16 lanes of a sum are a vector. Each lane adds what the
// scalar set adds, in its order, unfused. Rows go one by one as they lie in memory, but for those
// whose scales the activations can take on: two in step, asking for the next in memory's order.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int64_t kChunk = 4096;  // columns whose activations are widened at a time
constexpr int64_t kAhead = 2048;  // bytes that are asked for before they are read

/// Adds `count` elements from a column on, up to 64; x: f32, of that column on.
LETHE_AVX512_INLINE __m512 add64(const WeightRow& row, const ScaleTiles& tiles, int64_t column,
                                 int64_t count, const float* x, __m512 sums) noexcept {
  __m512 w[4];
  decode64(row, tiles, column, count, w);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const __m512 product = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * v), w[v]);
    if (count >= 64) {
      sums = _mm512_add_ps(sums, product);
    } else {
      const int64_t left = count - 16 * v;
      const uint32_t lanes = left >= 16 ? 0xffffu : left <= 0 ? 0u : (1u << left) - 1;
      sums = _mm512_mask_add_ps(sums, static_cast<__mmask16>(lanes), sums, product);
    }
  }
  return sums;
}

/// Columns [begin, end) of a row; lanes: [16], what was summed before.
void add_columns(const WeightRow& row, int64_t begin, int64_t end, const float* x,
                 float* lanes) noexcept {
  __m512 sums = _mm512_load_ps(lanes);
  const ScaleTiles tiles(row);
  int64_t i = begin;
  for (; i + 64 <= end; i += 64) {
    __builtin_prefetch(row.data + i + kAhead);  // past the row is the next one
    sums = add64(row, tiles, i, 64, x + (i - begin), sums);
  }
  if (i < end) sums = add64(row, tiles, i, end - i, x + (i - begin), sums);
  _mm512_store_ps(lanes, sums);
}

void widen(const uint16_t* bf16, int64_t count, float* out) noexcept {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bf16 + i));
    _mm512_store_si512(out + i, _mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
  }
  for (int64_t rest = 0; rest < 64; rest += 16, i += 16) {  // zeros up to a whole step
    const int64_t left = count - i;
    const uint32_t lanes = left >= 16 ? 0xffffu : left <= 0 ? 0u : (1u << left) - 1;
    const __m256i v = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(lanes), bf16 + i);
    _mm512_store_si512(out + i, _mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
  }
}

/// Tiles of scales of other widths than 32 and its multiples (tests make them).
RowDot narrow_row_dot = nullptr;

/// Lanes of some rows, and a part of a token's activations as f32.
struct Work {
  static constexpr int64_t kRows = 64;
  alignas(64) float x[kChunk + 64];
  alignas(64) float scaled[kChunk + 64];
  alignas(64) float lanes[kRows][16];
};

/// scaled = x times the scales of the tiles. False if one is neither zero nor within 2^+-kRange:
/// then products with what comes out might not be those of scaled weights.
bool scale_columns(const WeightRow& row, int64_t begin, int64_t end, Work& work) noexcept {
  const ScaleTiles tiles(row);
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  const __m512i least = _mm512_set1_epi32((127 - kRange) << 23);
  const __m512i most = _mm512_set1_epi32((127 + kRange) << 23);
  __mmask16 bad = 0;
  for (int64_t i = begin; i < end; i += 64) {
    const __m512 scale = _mm512_set1_ps(tile_scale(row, tiles.of(i)));
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int64_t at = i - begin + 16 * v;
      const __m512 x = _mm512_load_ps(work.x + at);
      const __m512i bits = _mm512_and_si512(_mm512_castps_si512(x), magnitude);
      const __mmask16 nonzero = _mm512_test_epi32_mask(bits, bits);
      bad = static_cast<__mmask16>(bad | (nonzero & (_mm512_cmplt_epi32_mask(bits, least) |
                                                     _mm512_cmpgt_epi32_mask(bits, most))));
      _mm512_store_ps(work.scaled + at, _mm512_mul_ps(x, scale));
    }
  }
  return bad == 0;
}

/// Asks for what follows the rows, in the order in which it lies in memory: with two, which are
/// read side by side, the same columns of the next two, one after the other.
template <int kTogether>
LETHE_AVX512_INLINE void ask_ahead(const WeightRow* rows, int64_t begin, int64_t end,
                                   int64_t column) noexcept {
  if constexpr (kTogether == 1) {
    __builtin_prefetch(rows[0].data + column + kAhead);
  } else {
    const int64_t stride = rows[1].data - rows[0].data;
    const int64_t at = 2 * (column - begin);
    const int64_t columns = end - begin;
    const std::byte* next =
        rows[0].data + 2 * stride + begin + (at < columns ? at : at + stride - columns);
    __builtin_prefetch(next);
    __builtin_prefetch(next + 64);
  }
}

/// Columns [begin, end) of kTogether rows whose scales the activations have taken on: products are
/// of the same numbers, so they are rounded alike.
template <int kTogether>
LETHE_AVX512_INLINE void add_plain_columns(const WeightRow* rows, int64_t begin, int64_t end,
                                           const float* x, float (*lanes)[16]) noexcept {
  __m512 sums[kTogether];
#pragma GCC unroll 2
  for (int r = 0; r < kTogether; ++r) sums[r] = _mm512_load_ps(lanes[r]);
  for (int64_t i = begin; i < end; i += 64) {
    ask_ahead<kTogether>(rows, begin, end, i);
#pragma GCC unroll 2
    for (int r = 0; r < kTogether; ++r) {
      const std::byte* at = rows[r].data + i;
      __m512 w[4];
      e4m3_to_f32(load512(at), w);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        sums[r] =
            _mm512_add_ps(sums[r], _mm512_mul_ps(_mm512_load_ps(x + (i - begin) + 16 * v), w[v]));
      }
    }
  }
#pragma GCC unroll 2
  for (int r = 0; r < kTogether; ++r) _mm512_store_ps(lanes[r], sums[r]);
}

void some_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
               float* out) noexcept {
  Work work;
  for (int64_t r = 0; r < num_rows; ++r) {
    _mm512_store_ps(work.lanes[r], _mm512_setzero_ps());
  }
  const bool plain = n % 64 == 0 && share_plain_scales(rows, num_rows, n, 64);
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = begin + kChunk < n ? begin + kChunk : n;
    widen(token.bf16 + begin, end - begin, work.x);
    if (plain && scale_columns(rows[0], begin, end, work)) {
      int64_t r = 0;
      for (; r + 2 <= num_rows; r += 2) {
        add_plain_columns<2>(rows + r, begin, end, work.scaled, work.lanes + r);
      }
      if (r < num_rows) add_plain_columns<1>(rows + r, begin, end, work.scaled, work.lanes + r);
    } else {
      for (int64_t r = 0; r < num_rows; ++r)
        add_columns(rows[r], begin, end, work.x, work.lanes[r]);
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) out[r] = sum_lanes(_mm512_load_ps(work.lanes[r]));
}

void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  while (num_rows > 0) {
    const int64_t count = rows_sharing_scales(rows, num_rows, Work::kRows);
    if (rows[0].scale_block % 32 == 0) {
      some_rows(rows, count, n, token, out);
    } else {
      for (int64_t r = 0; r < count; ++r) narrow_row_dot(rows[r], n, &token, 1, out + r);
    }
    rows += count;
    out += count;
    num_rows -= count;
  }
}

}  // namespace

void install_avx512_fp8_rows(KernelTable& table) noexcept {
  narrow_row_dot = table.row_dot[static_cast<size_t>(Encoding::Fp8Block)];
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Block)] = rows_dot;
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Row)] = rows_dot;
}

}  // namespace lethe::kernels
