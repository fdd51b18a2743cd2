#include "kernels/avx512.h"
#include "kernels/avx512_e4m3.h"

// Rows of e4m3 with one token, in f32: 16 lanes of a sum are a vector. Each lane adds what the
// scalar set adds, in its order, unfused. Row by row: two in step lost a third of the memory's
// bandwidth.

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

void some_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
               float* out) noexcept {
  constexpr int64_t kRows = 64;
  alignas(64) float x[kChunk + 64];
  alignas(64) float lanes[kRows][16];
  for (int64_t r = 0; r < num_rows; ++r) {
    _mm512_store_ps(lanes[r], _mm512_setzero_ps());
  }
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = begin + kChunk < n ? begin + kChunk : n;
    widen(token.bf16 + begin, end - begin, x);
    for (int64_t r = 0; r < num_rows; ++r) add_columns(rows[r], begin, end, x, lanes[r]);
  }
  for (int64_t r = 0; r < num_rows; ++r) out[r] = sum_lanes(_mm512_load_ps(lanes[r]));
}

void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  constexpr int64_t kRows = 64;
  for (int64_t r = 0; r < num_rows; r += kRows) {
    const int64_t count = num_rows - r < kRows ? num_rows - r : kRows;
    if (rows[r].scale_block % 32 == 0) {
      some_rows(rows + r, count, n, token, out + r);
    } else {
      for (int64_t i = r; i < r + count; ++i) narrow_row_dot(rows[i], n, &token, 1, out + i);
    }
  }
}

}  // namespace

void install_avx512_fp8_rows(KernelTable& table) noexcept {
  narrow_row_dot = table.row_dot[static_cast<size_t>(Encoding::Fp8Block)];
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Block)] = rows_dot;
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Row)] = rows_dot;
}

}  // namespace lethe::kernels
