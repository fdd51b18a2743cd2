#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// Encodings with Int8 activations as AVX2 vectors, 8 groups of 32 elements (a step) at a time: the
// same numbers as quant/*_formats.h, whose structs say where each field lies. Only for translation
// units with wide flags, so all of it is in an unnamed namespace and uses no library.
//
// A format has
//   kStepBytes        bytes of 8 groups
//   kWhole            rows hold whole steps only (blocks of 256)
//   kUnsigned         codes are 0..127
//   kHalfScales, kMins as in quant/code_group.h
//   kOwnScales        scales lie in a tensor of their own
//   pair<p>(s, a, b)  codes of groups 2p and 2p + 1
//   scales(s, out)    the scales (and mins) of the 8 groups

namespace lethe::kernels {
namespace {

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

/// The bytes of 8 groups of a row.
struct Step {
  const uint8_t* data;
  const uint8_t* scales;  // Fp4Row: e8m0 bytes or f32
  bool scales_f32;
};

/// Lane g belongs to group g; [1] is of the second half. Formats set what their flags say.
struct StepScales {
  __m256 scales[2];
  __m256 mins[2];
};

template <typename T>
LETHE_AVX2_INLINE T load(const uint8_t* p) noexcept {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}
LETHE_AVX2_INLINE __m128i load128(const void* p) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
LETHE_AVX2_INLINE __m256i load256(const void* p) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
LETHE_AVX2_INLINE __m256i join(__m128i low, __m128i high) noexcept {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}
LETHE_AVX2_INLINE __m256i bytes(int value) noexcept {
  return _mm256_set1_epi8(static_cast<char>(value));
}

/// Each byte's bits >> kShift, & mask.
template <int kShift>
LETHE_AVX2_INLINE __m256i bits(__m256i v, int mask) noexcept {
  return _mm256_and_si256(kShift == 0 ? v : _mm256_srli_epi16(v, kShift), bytes(mask));
}

/// 16 bytes of nibbles: 16 low ones, then 16 high ones.
LETHE_AVX2_INLINE __m256i nibbles(const uint8_t* p) noexcept {
  const __m128i v = load128(p);
  return _mm256_and_si256(join(v, _mm_srli_epi16(v, 4)), bytes(15));
}

LETHE_AVX2_INLINE __m256i as_it_is(__m256i codes) noexcept {
  return codes;
}
/// table[code] for codes 0..15.
LETHE_AVX2_INLINE __m256i look_up(__m128i table, __m256i codes) noexcept {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), codes);
}
LETHE_AVX2_INLINE __m128i doubled_e2m1_table() noexcept {
  return _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}
LETHE_AVX2_INLINE __m128i iq4nl_table() noexcept {
  return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

/// Byte i is all ones where bit i of `mask` is set.
LETHE_AVX2_INLINE __m256i mask_of_bits(uint32_t mask) noexcept {
  const __m256i spread = _mm256_shuffle_epi8(
      _mm256_set1_epi32(static_cast<int>(mask)),
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  return _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
}

LETHE_AVX2_INLINE __m256 half_at_all(const uint8_t* p) noexcept {
  return _mm256_cvtph_ps(_mm_set1_epi16(load<int16_t>(p)));
}
/// The 4 bytes at p, p + kStride, ... p + 7 kStride, of which formats want the first ones. Vectors
/// in which they lie where they belong are blended: that takes no shuffles, and reads within 8
/// blocks of at least 16 bytes.
template <int kStride>
LETHE_AVX2_INLINE __m128i four_headers(const uint8_t* p) noexcept {
  constexpr int kNext = kStride - 4;
  const __m128i low = _mm_blend_epi32(load128(p), load128(p + kNext), 2);
  const __m128i high = _mm_blend_epi32(load128(p + 2 * kNext), load128(p + 3 * kNext), 8);
  return _mm_blend_epi32(low, high, 12);
}
template <int kStride>
LETHE_AVX2_INLINE __m256i headers(const uint8_t* p) noexcept {
  return join(four_headers<kStride>(p), four_headers<kStride>(p + 4 * kStride));
}
/// Halves at p, p + kStride, ...
template <int kStride>
LETHE_AVX2_INLINE __m256 halves(const uint8_t* p) noexcept {
  const __m256i low_words = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 0, 1, 4, 5, 8, 9, 12, 13));
  const __m256i words = _mm256_shuffle_epi8(headers<kStride>(p), low_words);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 8)));
}
LETHE_AVX2_INLINE __m256 negated(__m256 v) noexcept {
  return _mm256_xor_ps(v, _mm256_set1_ps(-0.0F));
}
/// Half of 2^(byte - 127), NaN for 255; of bytes that lie in the exponents of f32.
LETHE_AVX2_INLINE __m256 half_e8m0(__m256i exponents) noexcept {
  // 2^-127 is subnormal. The infinity that 255 is becomes NaN by the product with zero.
  const __m256i value = _mm256_max_epi32(exponents, _mm256_set1_epi32(0x00400000));
  const __m256 power = _mm256_castsi256_ps(value);
  return _mm256_fmadd_ps(power, _mm256_setzero_ps(), _mm256_mul_ps(power, _mm256_set1_ps(0.5F)));
}
/// Bits [shift, shift + width) of each int as f32.
LETHE_AVX2_INLINE __m256 field(__m256i v, int shift, int mask) noexcept {
  return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(v, shift), _mm256_set1_epi32(mask)));
}

template <int kBytes, bool kWholeSteps, bool kNotNegative, bool kTwoScales, bool kHasMins>
struct FormatBase {
  static constexpr int kStepBytes = kBytes;
  static constexpr bool kWhole = kWholeSteps;
  static constexpr bool kUnsigned = kNotNegative;
  static constexpr bool kHalfScales = kTwoScales;
  static constexpr bool kMins = kHasMins;
  static constexpr bool kOwnScales = false;
};

// --- the release, and blocks of 32 and 64

struct Fp4Row : FormatBase<128, false, false, false, false> {
  static constexpr bool kOwnScales = true;
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const __m256i v = load256(s.data + 32 * p);
    const __m256i even = bits<0>(v, 15);
    const __m256i odd = bits<4>(v, 15);
    const __m256i first = _mm256_unpacklo_epi8(even, odd);  // elements 0..15 of both groups
    const __m256i second = _mm256_unpackhi_epi8(even, odd);
    a = look_up(doubled_e2m1_table(), _mm256_permute2x128_si256(first, second, 0x20));
    b = look_up(doubled_e2m1_table(), _mm256_permute2x128_si256(first, second, 0x31));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    out.scales[0] =
        s.scales_f32
            ? _mm256_mul_ps(_mm256_castsi256_ps(load256(s.scales)), _mm256_set1_ps(.5F))
            : half_e8m0(_mm256_slli_epi32(
                  _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(s.scales))),
                  23));
  }
};

/// Blocks of 32 that are a header of kHeader bytes and 32 codes that kCodes unpacks from the rest.
template <int kBlock, bool kNotNegative, bool kHasMins, __m256i (*kCodes)(const uint8_t*) noexcept>
struct Blocks32 : FormatBase<8 * kBlock, false, kNotNegative, false, kHasMins> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    a = kCodes(s.data + kBlock * (2 * p));
    b = kCodes(s.data + kBlock * (2 * p + 1));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    out.scales[0] = halves<kBlock>(s.data);
    if constexpr (kHasMins) out.mins[0] = negated(halves<kBlock>(s.data + 2));
  }
};

LETHE_AVX2_INLINE __m256i q8_0_codes(const uint8_t* block) noexcept {
  return load256(block + 2);
}
LETHE_AVX2_INLINE __m256i q4_0_codes(const uint8_t* block) noexcept {
  return _mm256_sub_epi8(nibbles(block + 2), bytes(8));
}
LETHE_AVX2_INLINE __m256i q4_1_codes(const uint8_t* block) noexcept {
  return nibbles(block + 4);
}
LETHE_AVX2_INLINE __m256i fifth_bits(uint32_t mask) noexcept {
  return _mm256_and_si256(mask_of_bits(mask), bytes(16));
}
LETHE_AVX2_INLINE __m256i q5_0_codes(const uint8_t* block) noexcept {
  const __m256i code = _mm256_or_si256(nibbles(block + 6), fifth_bits(load<uint32_t>(block + 2)));
  return _mm256_sub_epi8(code, bytes(16));
}
LETHE_AVX2_INLINE __m256i q5_1_codes(const uint8_t* block) noexcept {
  return _mm256_or_si256(nibbles(block + 8), fifth_bits(load<uint32_t>(block + 4)));
}
LETHE_AVX2_INLINE __m256i iq4_nl_codes(const uint8_t* block) noexcept {
  return look_up(iq4nl_table(), nibbles(block + 2));
}
LETHE_AVX2_INLINE __m256i mxfp4_codes(const uint8_t* block) noexcept {
  return look_up(doubled_e2m1_table(), nibbles(block + 1));
}

using Q8_0 = Blocks32<34, false, false, q8_0_codes>;
using Q4_0 = Blocks32<18, false, false, q4_0_codes>;
using Q4_1 = Blocks32<20, true, true, q4_1_codes>;
using Q5_0 = Blocks32<22, false, false, q5_0_codes>;
using Q5_1 = Blocks32<24, true, true, q5_1_codes>;
using IQ4_NL = Blocks32<18, false, false, iq4_nl_codes>;

struct MXFP4 : Blocks32<17, false, false, mxfp4_codes> {
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m256i last_byte = _mm256_slli_epi32(headers<17>(s.data), 24);
    out.scales[0] = half_e8m0(_mm256_srli_epi32(last_byte, 1));
  }
};

struct NVFP4 : FormatBase<144, false, false, true, false> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    a = group(s.data + 36 * p + 4);
    b = group(s.data + 36 * p + 20);
  }
  /// Two runs of 16: 8 bytes each, low nibbles first.
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* runs) noexcept {
    return look_up(doubled_e2m1_table(), _mm256_permute4x64_epi64(nibbles(runs), 0xD8));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m128i runs = _mm_setr_epi32(load<int32_t>(s.data), load<int32_t>(s.data + 36),
                                        load<int32_t>(s.data + 72), load<int32_t>(s.data + 108));
    out.scales[0] = half_e4m3(runs);
    out.scales[1] = half_e4m3(_mm_srli_epi16(runs, 8));
  }
  /// Half the unsigned e4m3 in the low byte of each word; 0x7f counts as 0. As an f16 its bits are
  /// 2^-8 of the value.
  LETHE_AVX2_INLINE static __m256 half_e4m3(__m128i words) noexcept {
    const __m128i nan = _mm_set1_epi16(0x7f);
    const __m128i code = _mm_and_si128(words, nan);
    const __m128i valid = _mm_andnot_si128(_mm_cmpeq_epi16(code, nan), code);
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(valid, 7)), _mm256_set1_ps(128.0F));
  }
};

// --- K-quants

struct Q2_K : FormatBase<84, true, true, true, true> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const __m256i q = load256(s.data + 16 + 32 * (p / 2));
    a = bits<4 * (p % 2)>(q, 3);
    b = bits<4 * (p % 2) + 2>(q, 3);
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m256 d = half_at_all(s.data + 80);
    const __m256 dmin = half_at_all(s.data + 82);
    const __m256i packed = _mm256_cvtepu16_epi32(load128(s.data));
    out.scales[0] = _mm256_mul_ps(d, field(packed, 0, 15));
    out.scales[1] = _mm256_mul_ps(d, field(packed, 8, 15));
    out.mins[0] = _mm256_mul_ps(dmin, field(packed, 4, 15));
    out.mins[1] = _mm256_mul_ps(dmin, field(packed, 12, 15));
  }
};

/// Scales of 16 halves from signed bytes: even bytes are first halves.
LETHE_AVX2_INLINE void byte_scales(__m128i packed, __m256 d, StepScales& out) noexcept {
  const __m256i words = _mm256_cvtepi16_epi32(packed);
  const __m256i low = _mm256_srai_epi32(_mm256_slli_epi32(words, 24), 24);
  out.scales[0] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(low));
  out.scales[1] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_srai_epi32(words, 8)));
}

struct Q3_K : FormatBase<110, true, false, true, false> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const __m256i q = load256(s.data + 32 + 32 * (p / 2));
    const __m256i high = load256(s.data);
    a = code(bits<4 * (p % 2)>(q, 3), bits<2 * p>(high, 1));
    b = code(bits<4 * (p % 2) + 2>(q, 3), bits<2 * p + 1>(high, 1));
  }
  LETHE_AVX2_INLINE static __m256i code(__m256i low, __m256i third_bit) noexcept {
    return _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(third_bit, 2)), bytes(4));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const auto low = load<uint64_t>(s.data + 96);
    const uint64_t high = load<uint32_t>(s.data + 104);
    constexpr uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f;
    constexpr uint64_t kPairs = 0x03030303;
    // Scale k: nibble k % 8 of the low bytes, bits 2 (k / 4) of high byte k % 4.
    const uint64_t first = (low & kNibbles) | (high & kPairs) << 4 | (high >> 2 & kPairs) << 36;
    const uint64_t second =
        (low >> 4 & kNibbles) | (high >> 4 & kPairs) << 4 | (high >> 6 & kPairs) << 36;
    const __m128i packed =
        _mm_set_epi64x(static_cast<int64_t>(second), static_cast<int64_t>(first));
    byte_scales(_mm_sub_epi8(packed, _mm_set1_epi8(32)), half_at_all(s.data + 108), out);
  }
};

/// The 6-bit scales and mins of Q4_K and Q5_K (quant::scale_min_of), all 8 at once.
LETHE_AVX2_INLINE void scale_mins(const uint8_t* block, StepScales& out) noexcept {
  const uint64_t first = load<uint32_t>(block + 4);
  const uint64_t second = load<uint32_t>(block + 8);
  const uint64_t third = load<uint32_t>(block + 12);
  constexpr uint64_t kLow6 = 0x3f3f3f3f;
  constexpr uint64_t kLow4 = 0x0f0f0f0f;
  constexpr uint64_t kTop2 = 0x03030303;
  const uint64_t scale = (first & kLow6) | ((third & kLow4) | (first >> 6 & kTop2) << 4) << 32;
  const uint64_t min = (second & kLow6) | ((third >> 4 & kLow4) | (second >> 6 & kTop2) << 4) << 32;
  const auto as_f32 = [](uint64_t eight) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(eight))));
  };
  out.scales[0] = _mm256_mul_ps(half_at_all(block), as_f32(scale));
  out.mins[0] = _mm256_mul_ps(half_at_all(block + 2), as_f32(min));
}

struct Q4_K : FormatBase<144, true, true, false, true> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const __m256i q = load256(s.data + 16 + 32 * p);
    a = bits<0>(q, 15);
    b = bits<4>(q, 15);
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    scale_mins(s.data, out);
  }
};

struct Q5_K : FormatBase<176, true, true, false, true> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const __m256i q = load256(s.data + 48 + 32 * p);
    const __m256i high = load256(s.data + 16);
    a = _mm256_or_si256(bits<0>(q, 15), _mm256_slli_epi16(bits<2 * p>(high, 1), 4));
    b = _mm256_or_si256(bits<4>(q, 15), _mm256_slli_epi16(bits<2 * p + 1>(high, 1), 4));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    scale_mins(s.data, out);
  }
};

struct Q6_K : FormatBase<210, true, false, true, false> {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    const uint8_t* low = s.data + 64 * (p / 2);
    const __m256i high = load256(s.data + 128 + 32 * (p / 2));
    constexpr int j = 2 * (p % 2);
    a = code(bits<2 * j>(load256(low), 15), bits<2 * j>(high, 3));
    b = code(bits<2 * j>(load256(low + 32), 15), bits<2 * j + 2>(high, 3));
  }
  LETHE_AVX2_INLINE static __m256i code(__m256i low, __m256i high) noexcept {
    return _mm256_sub_epi8(_mm256_or_si256(low, _mm256_slli_epi16(high, 4)), bytes(32));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    byte_scales(load128(s.data + 192), half_at_all(s.data + 208), out);
  }
};

}  // namespace
}  // namespace lethe::kernels
