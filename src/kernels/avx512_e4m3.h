#pragma once

#include "kernels/avx512_vectors.h"
#include "kernels/row_dot.h"

// e4m3 codes to f32 through bf16, which holds each of them exactly.

namespace lethe::kernels {
namespace {

/// bf16 bits of the magnitudes that codes mean, the bytes apart.
struct E4m3Table {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};
constexpr E4m3Table make_e4m3_table() noexcept {
  E4m3Table table{};
  for (int code = 0; code < 128; ++code) {
    int exponent = (code >> 3) + 120;
    int mantissa = code & 7;
    if (exponent == 120 && mantissa != 0) {  // subnormal there, not in bf16
      exponent = 121;
      for (; mantissa < 8; mantissa *= 2) --exponent;
    }
    int bits = exponent << 7 | (mantissa & 7) << 4;
    if (code == 0) bits = 0;
    if (code == 127) bits = 0x7fc0;
    table.low[code] = static_cast<uint8_t>(bits & 255);
    table.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  return table;
}
constexpr E4m3Table kE4m3 = make_e4m3_table();

/// Where 64 codes go so that, each widened to a word, dword j holds codes j and j + 16 of 32.
struct E4m3Places {
  alignas(64) uint8_t at[64];
};
constexpr E4m3Places make_e4m3_places() noexcept {
  E4m3Places places{};
  for (int lane = 0; lane < 4; ++lane) {
    for (int d = 0; d < 4; ++d) {
      for (int half = 0; half < 2; ++half) {
        const int to = 16 * lane + 8 * half + 2 * d;
        places.at[to] = static_cast<uint8_t>(32 * half + 4 * lane + d);
        places.at[to + 1] = static_cast<uint8_t>(32 * half + 4 * lane + d + 16);
      }
    }
  }
  return places;
}
constexpr E4m3Places kE4m3Places = make_e4m3_places();

/// bf16 bits of 64 codes without their scale: of the first 8 of each quarter, and of the others.
LETHE_AVX512_INLINE void e4m3_words(__m512i codes, __m512i* words) noexcept {
  const __m512i low = _mm512_permutex2var_epi8(load512(kE4m3.low), codes, load512(kE4m3.low + 64));
  const __m512i magnitude =
      _mm512_permutex2var_epi8(load512(kE4m3.high), codes, load512(kE4m3.high + 64));
  // Sign bit of the code, else the magnitude's bits.
  const __m512i high = _mm512_ternarylogic_epi32(bytes512(0x80), codes, magnitude, 0xCA);
  words[0] = _mm512_unpacklo_epi8(low, high);
  words[1] = _mm512_unpackhi_epi8(low, high);
}

/// 64 codes to f32, 16 in a vector, without their scale.
LETHE_AVX512_INLINE void e4m3_to_f32(__m512i codes, __m512* out) noexcept {
  __m512i words[2];
  e4m3_words(_mm512_permutexvar_epi8(load512(kE4m3Places.at), codes), words);
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    out[2 * i] = _mm512_castsi512_ps(_mm512_slli_epi32(words[i], 16));
    out[2 * i + 1] = _mm512_castsi512_ps(_mm512_and_si512(words[i], _mm512_set1_epi32(-65536)));
  }
}

/// 64 codes to bf16, 32 in a vector, without their scale.
LETHE_AVX512_INLINE void e4m3_to_bf16(__m512i codes, __m512i* out) noexcept {
  e4m3_words(_mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), codes), out);
}

/// The scale of a row's tile of columns.
LETHE_AVX512_INLINE float tile_scale(const WeightRow& row, int64_t tile) noexcept {
  float value;
  if (row.scales_f32) {
    __builtin_memcpy(&value, row.scales + 4 * tile, sizeof(value));
  } else {
    const auto e = static_cast<uint32_t>(row.scales[tile]);
    const uint32_t bits = e << 23 | (e == 0 || e == 255 ? 0x00400000u : 0u);
    __builtin_memcpy(&value, &bits, sizeof(value));
  }
  return value;
}

/// Which tile of scales a column belongs to; a division is dear in the loops that ask.
struct ScaleTiles {
  int32_t width;
  int shift;  // < 0: no power of two

  explicit ScaleTiles(const WeightRow& row) noexcept
      : width(row.scale_block),
        shift((width & (width - 1)) == 0 ? __builtin_ctz(static_cast<uint32_t>(width)) : -1) {}
  LETHE_AVX512_INLINE int64_t of(int64_t column) const noexcept {
    return shift >= 0 ? column >> shift : column / width;
  }
};

/// 64 elements from a column (a multiple of 32) on as decode_row has them; of the last of a row
/// only `count` are read, and zeros follow. Scale tiles are multiples of 32 columns.
LETHE_AVX512_INLINE void decode64(const WeightRow& row, const ScaleTiles& tiles, int64_t column,
                                  int64_t count, __m512* out) noexcept {
  const __m512i codes =
      count >= 64 ? load512(row.data + column)
                  : _mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, row.data + column);
  e4m3_to_f32(codes, out);
  const int64_t tile = tiles.of(column);
  const __m512 first = _mm512_set1_ps(tile_scale(row, tile));
  out[0] = _mm512_mul_ps(out[0], first);
  out[1] = _mm512_mul_ps(out[1], first);
  if (count <= 32) return;
  const int64_t next = tiles.of(column + 32);
  const __m512 second = next == tile ? first : _mm512_set1_ps(tile_scale(row, next));
  out[2] = _mm512_mul_ps(out[2], second);
  out[3] = _mm512_mul_ps(out[3], second);
}

}  // namespace
}  // namespace lethe::kernels
