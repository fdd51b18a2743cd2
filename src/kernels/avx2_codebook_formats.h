#pragma once

#include "kernels/avx2_block_formats.h"

// The i-quants as formats of avx2_block_formats.h: codes come from codebooks, 8 or 4 at a time.

namespace lethe::kernels {
namespace {

// A copy of the tables of our own: no symbol is shared with code of other flags.
#include "quant/iq_tables.inc"

/// Four entries of 8 bytes.
template <typename Entry>
LETHE_AVX2_INLINE __m256i eights(const Entry (*grid)[8], uint32_t a, uint32_t b, uint32_t c,
                                 uint32_t d) noexcept {
  const auto entry = [grid](uint32_t i) {
    return load<int64_t>(reinterpret_cast<const uint8_t*>(grid[i]));
  };
  return _mm256_setr_epi64x(entry(a), entry(b), entry(c), entry(d));
}

/// Codes negated where the sign bit is set.
LETHE_AVX2_INLINE __m256i with_signs(__m256i codes, uint32_t signs) noexcept {
  const __m256i mask = mask_of_bits(signs);
  return _mm256_sub_epi8(_mm256_xor_si256(codes, mask), mask);
}

/// The 4 x 8 signs that 4 fields of 7 bits stand for.
LETHE_AVX2_INLINE uint32_t expand_signs(uint32_t fields) noexcept {
  uint32_t signs = 0;
  for (int l = 0; l < 4; ++l) signs |= uint32_t{kIq2Signs[fields >> (7 * l) & 127u]} << (8 * l);
  return signs;
}

/// (d * (0.5 + n)) * kFactor.
LETHE_AVX2_INLINE __m256 half_step_scale(__m256 d, __m256 n, float factor) noexcept {
  return _mm256_mul_ps(_mm256_mul_ps(d, _mm256_add_ps(_mm256_set1_ps(0.5F), n)),
                       _mm256_set1_ps(factor));
}

/// Formats whose kGroup(block, g) unpacks one group.
template <typename Format>
struct ByGroup {
  template <int p>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& a, __m256i& b) noexcept {
    a = Format::group(s.data, 2 * p);
    b = Format::group(s.data, 2 * p + 1);
  }
};

struct IQ2_XXS : FormatBase<66, true, false, false, false>, ByGroup<IQ2_XXS> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    return with_signs(eights(kIq2xxsGrid, q[0], q[1], q[2], q[3]),
                      expand_signs(load<uint32_t>(q + 4)));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m256 first = _mm256_castsi256_ps(load256(s.data + 2));
    const __m256 second = _mm256_castsi256_ps(load256(s.data + 34));
    const __m256i odd = _mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xDD));
    const __m256i words = _mm256_permute4x64_epi64(odd, 0xD8);
    out.scales[0] = half_step_scale(half_at_all(s.data), field(words, 28, 15), 0.25F);
  }
};

/// Scales of IQ2_XS and IQ2_S: a nibble per half.
LETHE_AVX2_INLINE void iq2_scales(const uint8_t* block, int offset, StepScales& out) noexcept {
  const __m256 d = half_at_all(block);
  const __m256i packed =
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + offset)));
  out.scales[0] = half_step_scale(d, field(packed, 0, 15), 0.25F);
  out.scales[1] = half_step_scale(d, field(packed, 4, 15), 0.25F);
}

struct IQ2_XS : FormatBase<74, true, false, true, false>, ByGroup<IQ2_XS> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const auto q = load<uint64_t>(block + 2 + 8 * g);
    const auto word = [q](int l) { return static_cast<uint32_t>(q >> (16 * l)) & 0xffffu; };
    uint32_t signs = 0;
    for (int l = 0; l < 4; ++l) signs |= uint32_t{kIq2Signs[word(l) >> 9]} << (8 * l);
    return with_signs(
        eights(kIq2xsGrid, word(0) & 511u, word(1) & 511u, word(2) & 511u, word(3) & 511u), signs);
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    iq2_scales(s.data, 66, out);
  }
};

struct IQ2_S : FormatBase<82, true, false, true, false>, ByGroup<IQ2_S> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 2 + 4 * g;
    const uint32_t high = block[66 + g];
    const auto index = [&](int l) { return q[l] | (high >> (2 * l) & 3u) << 8; };
    return with_signs(eights(kIq2sGrid, index(0), index(1), index(2), index(3)),
                      load<uint32_t>(block + 34 + 4 * g));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    iq2_scales(s.data, 74, out);
  }
};

/// Eight entries of 4 bytes.
template <typename Index>
LETHE_AVX2_INLINE __m256i fours(const uint8_t (*grid)[4], Index index) noexcept {
  const auto entry = [&](int k) { return load<int32_t>(grid[index(k)]); };
  return _mm256_setr_epi32(entry(0), entry(1), entry(2), entry(3), entry(4), entry(5), entry(6),
                           entry(7));
}

struct IQ3_XXS : FormatBase<98, true, false, false, false>, ByGroup<IQ3_XXS> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    return with_signs(fours(kIq3xxsGrid, [q](int k) { return uint32_t{q[k]}; }),
                      expand_signs(load<uint32_t>(block + 66 + 4 * g)));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    out.scales[0] = half_step_scale(half_at_all(s.data), field(load256(s.data + 66), 28, 15), 0.5F);
  }
};

struct IQ3_S : FormatBase<110, true, false, false, false>, ByGroup<IQ3_S> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    const uint32_t ninth = block[66 + g];
    return with_signs(fours(kIq3sGrid, [=](int k) { return q[k] | (ninth >> k & 1u) << 8; }),
                      load<uint32_t>(block + 74 + 4 * g));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    // Nibble g of 4 bytes.
    const __m256i nibble = _mm256_srlv_epi32(_mm256_set1_epi32(load<int32_t>(s.data + 106)),
                                             _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i twice = _mm256_slli_epi32(_mm256_and_si256(nibble, _mm256_set1_epi32(15)), 1);
    out.scales[0] = _mm256_mul_ps(
        half_at_all(s.data), _mm256_cvtepi32_ps(_mm256_add_epi32(twice, _mm256_set1_epi32(1))));
  }
};

struct IQ4_XS : FormatBase<136, true, false, false, false>, ByGroup<IQ4_XS> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    return look_up(iq4nl_table(), nibbles(block + 8 + 16 * g));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(load<int32_t>(s.data + 4)),
                                          _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load<uint16_t>(s.data + 2)),
                                           _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i six =
        _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    out.scales[0] = _mm256_mul_ps(half_at_all(s.data),
                                  _mm256_cvtepi32_ps(_mm256_sub_epi32(six, _mm256_set1_epi32(32))));
  }
};

/// IQ1: 8 * grid + delta, delta +-1 per run of 8 (a set bit of `negative` means -1).
LETHE_AVX2_INLINE __m256i ternary(uint32_t a, uint32_t b, uint32_t c, uint32_t d,
                                  __m256i delta) noexcept {
  const __m256i grid = eights(kIq1sGrid, a, b, c, d);
  const __m256i eighths = _mm256_and_si256(_mm256_slli_epi16(grid, 3), bytes(0xf8));
  return _mm256_add_epi8(eighths, delta);
}

struct IQ1_S : FormatBase<50, true, false, false, false>, ByGroup<IQ1_S> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 2 + 4 * g;
    const uint32_t high = load<uint16_t>(block + 34 + 2 * g);
    const auto index = [=](int l) { return q[l] | (high >> (3 * l) & 7u) << 8; };
    return ternary(index(0), index(1), index(2), index(3), bytes(high >> 15 != 0 ? -1 : 1));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const __m256i high = _mm256_cvtepu16_epi32(load128(s.data + 34));
    // 2 n + 1, n the 3 bits from 12 on.
    const __m256 odd = _mm256_cvtepi32_ps(
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(high, 11), _mm256_set1_epi32(14)),
                        _mm256_set1_epi32(1)));
    out.scales[0] = _mm256_mul_ps(_mm256_mul_ps(half_at_all(s.data), odd), _mm256_set1_ps(0.125F));
  }
};

struct IQ1_M : FormatBase<56, true, false, true, false>, ByGroup<IQ1_M> {
  LETHE_AVX2_INLINE static __m256i group(const uint8_t* block, int g) noexcept {
    const uint8_t* q = block + 4 * g;
    const uint32_t high = load<uint16_t>(block + 32 + 2 * g);  // a nibble per run
    const auto index = [=](int l) { return q[l] | (high >> (4 * l) & 7u) << 8; };
    const auto delta = [=](int l) {
      return (high >> (4 * l) & 8u) != 0 ? int64_t{-1} : int64_t{0x0101010101010101};
    };
    return ternary(index(0), index(1), index(2), index(3),
                   _mm256_setr_epi64x(delta(0), delta(1), delta(2), delta(3)));
  }
  LETHE_AVX2_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const auto words = load<uint64_t>(s.data + 48);
    uint64_t half = 0;  // spread over the top nibbles
    for (int k = 0; k < 4; ++k) half |= (words >> (16 * k + 12) & 15u) << (4 * k);
    const __m256 d = _mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(half)));
    // Group g: the fields of 3 bits at 6 (g % 2) of word g / 2.
    const __m128i packed = _mm_cvtsi64_si128(static_cast<int64_t>(words));
    const __m256i twice = _mm256_cvtepu16_epi32(_mm_unpacklo_epi16(packed, packed));
    const __m256i fields = _mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 6, 0, 6, 0, 6, 0, 6));
    out.scales[0] = eighth_scale(d, fields);
    out.scales[1] = eighth_scale(d, _mm256_srli_epi32(fields, 3));
  }
  LETHE_AVX2_INLINE static __m256 eighth_scale(__m256 d, __m256i fields) noexcept {
    const __m256i n = _mm256_and_si256(fields, _mm256_set1_epi32(7));
    const __m256i odd = _mm256_or_si256(_mm256_slli_epi32(n, 1), _mm256_set1_epi32(1));
    return _mm256_mul_ps(_mm256_mul_ps(d, _mm256_cvtepi32_ps(odd)), _mm256_set1_ps(0.125F));
  }
};

}  // namespace
}  // namespace lethe::kernels
