#pragma once

#include "kernels/avx512_int8_formats.h"

// The encodings that models are mostly made of, unpacked with AVX-512's own instructions: as
// formats of avx512_int8_formats.h, with the flags and sizes of their AVX2 twins.

namespace lethe::kernels {
namespace {

template <typename Narrow, int bias>
struct Hot {
  static constexpr int kStepBytes = Narrow::kStepBytes;
  static constexpr bool kWhole = Narrow::kWhole;
  static constexpr bool kHalfScales = Narrow::kHalfScales;
  static constexpr bool kMins = Narrow::kMins;
  static constexpr bool kOwnScales = Narrow::kOwnScales;
  static constexpr int kBias = bias;
};

/// Half of 2^(byte - 127), NaN for 255; a byte in each dword.
LETHE_AVX512_INLINE __m512 half_e8m0(__m512i e) noexcept {
  const __m512i above = _mm512_sub_epi32(e, _mm512_set1_epi32(2));  // 0 .. 252 are normal
  __m512i value = _mm512_add_epi32(_mm512_slli_epi32(above, 23), _mm512_set1_epi32(1 << 23));
  const __mmask16 special = _mm512_cmpgt_epu32_mask(above, _mm512_set1_epi32(252));
  if (special != 0) [[unlikely]] {
    value = _mm512_mask_mov_epi32(value, _mm512_cmpeq_epi32_mask(e, _mm512_setzero_si512()),
                                  _mm512_set1_epi32(0x00200000));
    value = _mm512_mask_mov_epi32(value, _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(1)),
                                  _mm512_set1_epi32(0x00400000));
    value = _mm512_mask_mov_epi32(value, _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255)),
                                  _mm512_set1_epi32(0x7fc00000));
  }
  return _mm512_castsi512_ps(value);
}

/// Doubled e2m1 + 12 of the low nibble of each byte; vpermb ignores what is above it here.
LETHE_AVX512_INLINE __m512i look_up_e2m1(__m512i codes) noexcept {
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  return _mm512_permutexvar_epi8(codes, table);
}

/// Four vectors, each of 4 groups with a lane each, to sums in row order.
LETHE_AVX512_INLINE __m512i quarters_in_order(const __m512i* acc) noexcept {
  const __m512i turn = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(turn, sum_quarters(acc));
}

/// Of 4 groups each: first halves, then second halves.
LETHE_AVX512_INLINE void order_halves(__m512i* x) noexcept {
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    const __m512i low = x[i];
    x[i] = _mm512_shuffle_i32x4(low, x[i + 1], 0x88);
    x[i + 1] = _mm512_shuffle_i32x4(low, x[i + 1], 0xDD);
  }
}

/// u times x of 4 groups, in two vectors each.
LETHE_AVX512_INLINE __m512i two_products(__m512i a, __m512i x, __m512i b, __m512i y) noexcept {
  return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), a, x), b, y);
}

struct HotFp4Row : Hot<Fp4Row, 12> {
  /// Even elements of 4 groups, then odd ones.
  LETHE_AVX512_INLINE static void order(__m512i* x) noexcept {
    alignas(64) static constexpr auto kEven = [] {
      struct Indices {
        uint8_t at[64];
      } even{};
      for (int i = 0; i < 64; ++i) even.at[i] = static_cast<uint8_t>(2 * i);
      return even;
    }();
    const __m512i even = load512(kEven.at);
    const __m512i odd = _mm512_add_epi8(even, bytes512(1));
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      const __m512i low = x[i];
      x[i] = _mm512_permutex2var_epi8(low, even, x[i + 1]);
      x[i + 1] = _mm512_permutex2var_epi8(low, odd, x[i + 1]);
    }
  }
  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    __m512i acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i v = load512(s.data + 64 * i);
      acc[i] = two_products(look_up_e2m1(v), x[2 * i], look_up_e2m1(_mm512_srli_epi16(v, 4)),
                            x[2 * i + 1]);
    }
    out[0] = quarters_in_order(acc);
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512*) noexcept {
    out[0] = s.scales_f32 ? _mm512_mul_ps(_mm512_loadu_ps(s.scales), _mm512_set1_ps(0.5F))
                          : half_e8m0(_mm512_cvtepu8_epi32(load128(s.scales)));
  }
};

struct HotMXFP4 : Hot<MXFP4, 12> {
  LETHE_AVX512_INLINE static void order(__m512i* x) noexcept { order_halves(x); }

  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    // Codes of blocks 0, 1, 2 at bytes 1, 18, 35; those of block 3 end a load that begins at 4.
    const __m512i gather = _mm512_add_epi8(
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)),
        join512(join(_mm_setzero_si128(), _mm_set1_epi8(17)),
                join(_mm_set1_epi8(34), _mm_setzero_si128())));
    constexpr __mmask64 kThree = 0x0000ffffffffffff;
    __m512i acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const uint8_t* blocks = s.data + 68 * i;
      const __m512i v =
          _mm512_mask_permutexvar_epi8(load512(blocks + 4), kThree, gather, load512(blocks + 1));
      acc[i] = two_products(look_up_e2m1(v), x[2 * i], look_up_e2m1(_mm512_srli_epi16(v, 4)),
                            x[2 * i + 1]);
    }
    out[0] = quarters_in_order(acc);
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512*) noexcept {
    // Bytes 0, 17, 34, 51 of two loads to dwords 0 .. 7, and of two more to 8 .. 15.
    const __m512i at =
        _mm512_setr_epi32(0, 17, 34, 51, 64, 81, 98, 115, 0, 17, 34, 51, 64, 81, 98, 115);
    constexpr __mmask64 kLow = 0x0000000011111111;
    constexpr __mmask64 kHigh = 0x1111111100000000;
    const __m512i low =
        _mm512_maskz_permutex2var_epi8(kLow, load512(s.data), at, load512(s.data + 68));
    const __m512i high =
        _mm512_maskz_permutex2var_epi8(kHigh, load512(s.data + 136), at, load512(s.data + 204));
    out[0] = half_e8m0(_mm512_or_si512(low, high));
  }
};

struct HotQ8_0 : Hot<Q8_0, 128> {
  LETHE_AVX512_INLINE static void order(__m512i* x) noexcept { order_halves(x); }

  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    __m512i acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const uint8_t* blocks = s.data + 136 * i + 2;
      const __m512i sign = bytes512(0x80);
      const __m512i low = _mm512_xor_si512(join512(load256(blocks), load256(blocks + 34)), sign);
      const __m512i high =
          _mm512_xor_si512(join512(load256(blocks + 68), load256(blocks + 102)), sign);
      acc[i] = two_products(_mm512_shuffle_i32x4(low, high, 0x88), x[2 * i],
                            _mm512_shuffle_i32x4(low, high, 0xDD), x[2 * i + 1]);
    }
    out[0] = quarters_in_order(acc);
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512*) noexcept {
    // Words 0 and 17 of two loads, to each qword.
    const __m512i at = _mm512_set1_epi64(0x0031002000110000);
    const auto four = [&](int i) {
      return _mm512_permutex2var_epi16(load512(s.data + 136 * i), at,
                                       load512(s.data + 136 * i + 68));
    };
    __m512i halves = four(0);
    halves = _mm512_mask_mov_epi64(halves, 2, four(1));
    halves = _mm512_mask_mov_epi64(halves, 4, four(2));
    halves = _mm512_mask_mov_epi64(halves, 8, four(3));
    out[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
  }
};

/// A half of each of two blocks, for 8 groups each.
LETHE_AVX512_INLINE __m512 two_halves(const uint8_t* first, const uint8_t* second) noexcept {
  return _mm512_cvtph_ps(
      join(_mm_set1_epi16(load<int16_t>(first)), _mm_set1_epi16(load<int16_t>(second))));
}
LETHE_AVX512_INLINE __m512 field512(__m512i v, int shift, int mask) noexcept {
  return _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned int>(shift)),
                                             _mm512_set1_epi32(mask)));
}

struct HotQ4_K : Hot<Q4_K, 0> {
  /// Per block, of its even groups first halves and second halves, then of the odd groups.
  LETHE_AVX512_INLINE static void order(__m512i* x) noexcept {
#pragma GCC unroll 2
    for (int b = 0; b < 8; b += 4) {
      const __m512i even01 = _mm512_shuffle_i32x4(x[b], x[b + 1], 0x44);
      const __m512i even23 = _mm512_shuffle_i32x4(x[b + 2], x[b + 3], 0x44);
      const __m512i odd01 = _mm512_shuffle_i32x4(x[b], x[b + 1], 0xEE);
      const __m512i odd23 = _mm512_shuffle_i32x4(x[b + 2], x[b + 3], 0xEE);
      x[b] = _mm512_shuffle_i32x4(even01, even23, 0x88);
      x[b + 1] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
      x[b + 2] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
      x[b + 3] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
    }
  }
  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    __m512i acc[4];
#pragma GCC unroll 2
    for (int b = 0; b < 2; ++b) {
      const uint8_t* q = s.data + kStepBytes * b + 16;
      const __m512i low = load512(q);
      const __m512i high = load512(q + 64);
      const __m512i first = _mm512_shuffle_i32x4(low, high, 0x88);
      const __m512i second = _mm512_shuffle_i32x4(low, high, 0xDD);
      acc[2 * b] = two_products(low_nibbles(first), x[4 * b], low_nibbles(second), x[4 * b + 1]);
      acc[2 * b + 1] =
          two_products(high_nibbles(first), x[4 * b + 2], high_nibbles(second), x[4 * b + 3]);
    }
    // Dword 4l + i of the quarters: group 8 (i / 2) + 2 l + i % 2.
    const __m512i in_order =
        _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    out[0] = _mm512_permutexvar_epi32(in_order, sum_quarters(acc));
  }
  /// The 6-bit scales and mins, as scale_mins has them, of both blocks.
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512* mins) noexcept {
    uint64_t scale[2];
    uint64_t min[2];
#pragma GCC unroll 2
    for (int b = 0; b < 2; ++b) {
      const uint8_t* block = s.data + kStepBytes * b;
      const uint64_t first = load<uint32_t>(block + 4);
      const uint64_t second = load<uint32_t>(block + 8);
      const uint64_t third = load<uint32_t>(block + 12);
      constexpr uint64_t kLow6 = 0x3f3f3f3f;
      constexpr uint64_t kLow4 = 0x0f0f0f0f;
      constexpr uint64_t kTop2 = 0x03030303;
      scale[b] = (first & kLow6) | ((third & kLow4) | (first >> 6 & kTop2) << 4) << 32;
      min[b] = (second & kLow6) | ((third >> 4 & kLow4) | (second >> 6 & kTop2) << 4) << 32;
    }
    const auto as_f32 = [](const uint64_t* eight) {
      return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(
          _mm_set_epi64x(static_cast<int64_t>(eight[1]), static_cast<int64_t>(eight[0]))));
    };
    const uint8_t* next = s.data + kStepBytes;
    out[0] = _mm512_mul_ps(two_halves(s.data, next), as_f32(scale));
    mins[0] = _mm512_mul_ps(two_halves(s.data + 2, next + 2), as_f32(min));
  }
};

/// The two bytes of 16 words that follow each other in two blocks, as words in dwords.
LETHE_AVX512_INLINE __m256i two_blocks(const uint8_t* first, const uint8_t* second) noexcept {
  return join(load128(first), load128(second));
}

struct HotQ6_K : Hot<Q6_K, 32> {
  LETHE_AVX512_INLINE static void order(__m512i*) noexcept {}

  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    const __m512i to_left = join512(_mm256_set1_epi16(4), _mm256_set1_epi16(2));
    const __m512i to_right = join512(_mm256_set1_epi16(0), _mm256_set1_epi16(2));
    __m512i acc[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // half i % 2 of block i / 2
      const uint8_t* block = s.data + kStepBytes * (i / 2);
      const __m512i low = load512(block + 64 * (i % 2));
      const __m512i high = _mm512_broadcast_i64x4(load256(block + 128 + 32 * (i % 2)));
      const __m512i first = code(low, _mm512_sllv_epi16(high, to_left));
      const __m512i second = code(_mm512_srli_epi16(low, 4), _mm512_srlv_epi16(high, to_right));
      acc[2 * i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), first, x[2 * i]);
      acc[2 * i + 1] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), second, x[2 * i + 1]);
    }
    natural_halves(acc, out);
  }
  /// The low 4 bits of one, and bits 4 and 5 of the other.
  LETHE_AVX512_INLINE static __m512i code(__m512i low, __m512i high) noexcept {
    const __m512i chosen = _mm512_ternarylogic_epi32(bytes512(15), low, high, 0xCA);
    return _mm512_and_si512(chosen, bytes512(63));
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512*) noexcept {
    const uint8_t* next = s.data + kStepBytes;
    const __m512 d = two_halves(s.data + 208, next + 208);
    const __m512i words = _mm512_cvtepi16_epi32(two_blocks(s.data + 192, next + 192));
    const __m512i low = _mm512_srai_epi32(_mm512_slli_epi32(words, 24), 24);
    out[0] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(low));
    out[1] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_srai_epi32(words, 8)));
  }
};

struct HotQ2_K : Hot<Q2_K, 0> {
  LETHE_AVX512_INLINE static void order(__m512i*) noexcept {}

  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    const __m512i by0 = join512(_mm256_set1_epi16(0), _mm256_set1_epi16(2));
    const __m512i by4 = join512(_mm256_set1_epi16(4), _mm256_set1_epi16(6));
    __m512i acc[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {  // half i % 2 of block i / 2
      const uint8_t* block = s.data + kStepBytes * (i / 2);
      const __m512i q = _mm512_broadcast_i64x4(load256(block + 16 + 32 * (i % 2)));
      const __m512i first = _mm512_and_si512(_mm512_srlv_epi16(q, by0), bytes512(3));
      const __m512i second = _mm512_and_si512(_mm512_srlv_epi16(q, by4), bytes512(3));
      acc[2 * i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), first, x[2 * i]);
      acc[2 * i + 1] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), second, x[2 * i + 1]);
    }
    natural_halves(acc, out);
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512* mins) noexcept {
    const uint8_t* next = s.data + kStepBytes;
    const __m512 d = two_halves(s.data + 80, next + 80);
    const __m512 dmin = two_halves(s.data + 82, next + 82);
    const __m512i packed = _mm512_cvtepu16_epi32(two_blocks(s.data, next));
    out[0] = _mm512_mul_ps(d, field512(packed, 0, 15));
    out[1] = _mm512_mul_ps(d, field512(packed, 8, 15));
    mins[0] = _mm512_mul_ps(dmin, field512(packed, 4, 15));
    mins[1] = _mm512_mul_ps(dmin, field512(packed, 12, 15));
  }
};

/// The codebook of IQ2_XXS with 2 bits for each of 8 magnitudes, and those.
struct Iq2xxsWords {
  alignas(64) uint16_t words[256];
  uint8_t magnitudes[4];
};
constexpr Iq2xxsWords make_iq2xxs_words() noexcept {
  Iq2xxsWords out{{}, {8, 25, 43, 0}};
  for (int i = 0; i < 256; ++i) {
    int word = 0;
    for (int j = 0; j < 8; ++j) {
      int index = 0;
      while (out.magnitudes[index] != kIq2xxsGrid[i][j]) ++index;
      word |= index << (2 * j);
    }
    out.words[i] = static_cast<uint16_t>(word);
  }
  return out;
}
constexpr Iq2xxsWords kIq2xxsWords = make_iq2xxs_words();

struct HotIQ2_XXS : Hot<IQ2_XXS, 128> {
  LETHE_AVX512_INLINE static void order(__m512i*) noexcept {}

  /// The words of 32 indices, each in a word.
  LETHE_AVX512_INLINE static __m512i words_of(__m512i index) noexcept {
    const uint16_t* table = kIq2xxsWords.words;
    const auto of64 = [&](int first) {
      return _mm512_permutex2var_epi16(load512(table + first), index, load512(table + first + 32));
    };
    const __mmask32 bit6 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(64));
    const __mmask32 bit7 = _mm512_test_epi16_mask(index, _mm512_set1_epi16(128));
    const __m512i low = _mm512_mask_mov_epi16(of64(0), bit6, of64(64));
    const __m512i high = _mm512_mask_mov_epi16(of64(128), bit6, of64(192));
    return _mm512_mask_mov_epi16(low, bit7, high);
  }
  LETHE_AVX512_INLINE static __m512i odd_words(const WideStep& s) noexcept {
    const __m512i odd =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_epi32(load512(s.data + 2), odd, load512(s.data + kStepBytes + 2));
  }
  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i indices =
        _mm512_permutex2var_epi32(load512(s.data + 2), even, load512(s.data + kStepBytes + 2));
    // Fields of 7 bits at 0, 7, 14, 21 of each dword; the table ignores what is above them.
    const __m512i fields =
        _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), odd_words(s));
    alignas(64) uint64_t signs[8];
    _mm512_store_si512(
        signs, _mm512_permutex2var_epi8(load512(kIq2Signs), fields, load512(kIq2Signs + 64)));
    const __m512i words[2] = {
        words_of(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(indices))),
        words_of(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(indices, 1)))};
    const __m512i pairs = _mm512_set1_epi64(0x0e0c0a0806040200);
    const __m512i plus = _mm512_set1_epi32(0x00ab9988);   // 128 + {8, 25, 43}
    const __m512i minus = _mm512_set1_epi32(0x00556778);  // 128 - {8, 25, 43}
    __m512i acc[8];
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) {
      // Word 8 (v % 4) + q to qword q.
      const __m512i to_qwords = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                                                 _mm512_set1_epi64(8 * (v % 4)));
      const __m512i codes =
          _mm512_multishift_epi64_epi8(pairs, _mm512_permutexvar_epi16(to_qwords, words[v / 4]));
      const __m512i u = _mm512_mask_permutexvar_epi8(_mm512_permutexvar_epi8(codes, plus), signs[v],
                                                     codes, minus);
      acc[v] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u, x[v]);
    }
    __m512i halves[2];
    natural_halves(acc, halves);
    out[0] = _mm512_add_epi32(halves[0], halves[1]);
  }
  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512*) noexcept {
    const __m512 d = two_halves(s.data, s.data + kStepBytes);
    const __m512 n = _mm512_cvtepi32_ps(_mm512_srli_epi32(odd_words(s), 28));
    out[0] = _mm512_mul_ps(_mm512_mul_ps(d, _mm512_add_ps(_mm512_set1_ps(0.5F), n)),
                           _mm512_set1_ps(0.25F));
  }
};

}  // namespace
}  // namespace lethe::kernels
