#pragma once

#include "kernels/avx2_code_ranges.h"

// Codes of two groups at once, for rows with one token: the first halves of groups g and g + 4 in
// one vector, the last halves in another. So a 128-bit half has sums of one group only, the sums of
// a step need few shuffles to meet in one vector, and its lane g is group g. Codes are unsigned
// (code - Codes<Format>::kLeast). Only for translation units with wide flags.

namespace lethe::kernels {
namespace {

/// Which 16 codes of a group are its first: in row order, or those of even elements.
enum class SplitOrder : uint8_t { Halves, Parities };

/// pair<g>(s, first, last): groups g and g + 4 of a step. kAny: whether a format has it.
template <typename Format>
struct Split {
  static constexpr bool kAny = false;
};
template <SplitOrder order>
struct SplitBase {
  static constexpr bool kAny = true;
  static constexpr SplitOrder kOrder = order;
};

/// 16 bytes each. Not an insertion, which takes a shuffle unit that is wanted for more.
LETHE_AVX2_INLINE __m256i two128(const uint8_t* low, const uint8_t* high) noexcept {
  return _mm256_blend_epi32(_mm256_castsi128_si256(load128(low)),
                            _mm256_broadcastsi128_si256(load128(high)), 0xf0);
}
/// A bit plane of 32 bytes, bit g of byte i for element i of group g: 16 bytes, and the same
/// shifted so that the bit of group g + 4 is where that of g was.
LETHE_AVX2_INLINE __m256i two_planes(const uint8_t* p) noexcept {
  const __m256i twice = _mm256_broadcastsi128_si256(load128(p));
  return _mm256_blend_epi32(twice, _mm256_srli_epi16(twice, 4), 0xf0);
}

/// Blocks of 32 with kHeader bytes before nibbles.
template <int kBlock, int kHeader>
LETHE_AVX2_INLINE __m256i nibble_blocks(const Step& s, int g) noexcept {
  return two128(s.data + kBlock * g + kHeader, s.data + kBlock * (g + 4) + kHeader);
}

/// e2m1, doubled, from 0 on.
LETHE_AVX2_INLINE __m256i e2m1_codes(__m256i nibbles) noexcept {
  return look_up(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0), nibbles);
}

/// Codes that are nibbles, or kCode of them.
template <int kBlock, int kHeader, SplitOrder order, __m256i (*kCode)(__m256i) noexcept>
struct SplitNibbles : SplitBase<order> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    const __m256i v = nibble_blocks<kBlock, kHeader>(s, g);
    first = kCode(bits<0>(v, 15));
    last = kCode(bits<4>(v, 15));
  }
};
template <>
struct Split<MXFP4> : SplitNibbles<17, 1, SplitOrder::Halves, e2m1_codes> {};
template <>
struct Split<Fp4Row> : SplitNibbles<16, 0, SplitOrder::Parities, e2m1_codes> {};
template <>
struct Split<Q4_0> : SplitNibbles<18, 2, SplitOrder::Halves, as_it_is> {};
template <>
struct Split<Q4_1> : SplitNibbles<20, 4, SplitOrder::Halves, as_it_is> {};

/// The fifth bits of 32 codes lie before the nibbles.
template <int kBlock, int kHeader>
struct SplitFives : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    const __m256i v = nibble_blocks<kBlock, kHeader>(s, g);
    const auto one = load<uint32_t>(s.data + kBlock * g + kHeader - 4);
    const auto other = load<uint32_t>(s.data + kBlock * (g + 4) + kHeader - 4);
    first = _mm256_or_si256(bits<0>(v, 15), fifth_bits((one & 0xffffu) | other << 16));
    last = _mm256_or_si256(bits<4>(v, 15), fifth_bits(one >> 16 | (other & 0xffff0000u)));
  }
};
template <>
struct Split<Q5_0> : SplitFives<22, 6> {};
template <>
struct Split<Q5_1> : SplitFives<24, 8> {};

// K-quants: groups g and g + 4 are alike in the first and the second half of a block.

template <>
struct Split<Q2_K> : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    first = bits<2 * g>(two128(s.data + 16, s.data + 48), 3);
    last = bits<2 * g>(two128(s.data + 32, s.data + 64), 3);
  }
};

template <>
struct Split<Q3_K> : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    first = code<g>(two128(s.data + 32, s.data + 64), two_planes(s.data));
    last = code<g>(two128(s.data + 48, s.data + 80), two_planes(s.data + 16));
  }
  template <int g>
  LETHE_AVX2_INLINE static __m256i code(__m256i low, __m256i high) noexcept {
    return _mm256_or_si256(bits<2 * g>(low, 3), _mm256_slli_epi16(bits<g>(high, 1), 2));
  }
};

template <>
struct Split<Q4_K> : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    const uint8_t* q = s.data + 16 + 32 * (g / 2);
    first = bits<4 * (g % 2)>(two128(q, q + 64), 15);
    last = bits<4 * (g % 2)>(two128(q + 16, q + 80), 15);
  }
};

template <>
struct Split<Q5_K> : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    const uint8_t* q = s.data + 48 + 32 * (g / 2);
    first = code<g>(two128(q, q + 64), two_planes(s.data + 16));
    last = code<g>(two128(q + 16, q + 80), two_planes(s.data + 32));
  }
  template <int g>
  LETHE_AVX2_INLINE static __m256i code(__m256i low, __m256i high) noexcept {
    return _mm256_or_si256(bits<4 * (g % 2)>(low, 15), _mm256_slli_epi16(bits<g>(high, 1), 4));
  }
};

template <>
struct Split<Q6_K> : SplitBase<SplitOrder::Halves> {
  template <int g>
  LETHE_AVX2_INLINE static void pair(const Step& s, __m256i& first, __m256i& last) noexcept {
    const uint8_t* low = s.data + 32 * (g % 2);
    const uint8_t* high = s.data + 128;
    first = code<g>(two128(low, low + 64), two128(high, high + 32));
    last = code<g>(two128(low + 16, low + 80), two128(high + 16, high + 48));
  }
  template <int g>
  LETHE_AVX2_INLINE static __m256i code(__m256i low, __m256i high) noexcept {
    return _mm256_or_si256(bits<4 * (g / 2)>(low, 15), _mm256_slli_epi16(bits<2 * g>(high, 3), 4));
  }
};

}  // namespace
}  // namespace lethe::kernels
