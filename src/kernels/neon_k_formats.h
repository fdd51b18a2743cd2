#pragma once

#include "kernels/neon_block_formats.h"

// The K-quants as formats of neon_block_formats.h.

namespace lethe::kernels {
namespace {

/// Each byte's bits >> kShift, & mask.
template <int kShift>
LETHE_NEON_INLINE uint8x16_t bits(uint8x16_t v, int mask) noexcept {
  if constexpr (kShift != 0) v = vshrq_n_u8(v, kShift);
  return vandq_u8(v, vdupq_n_u8(static_cast<uint8_t>(mask)));
}
/// Bits kShift .. of `high`, & mask, from bit kTo on, joined to `low`.
template <int kShift, int kTo>
LETHE_NEON_INLINE uint8x16_t with_bits(uint8x16_t low, uint8x16_t high, int mask) noexcept {
  return vorrq_u8(low, vshlq_n_u8(bits<kShift>(high, mask), kTo));
}
LETHE_NEON_INLINE int8x16_t less(uint8x16_t code, int offset) noexcept {
  return vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(static_cast<int8_t>(offset)));
}

struct Q2_K : FormatBase<84, true, true, true> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const uint8x16_t q = load_bytes(s.data + 16 + 32 * (p / 2) + 16 * h);
      out[h] = vreinterpretq_s8_u8(bits<4 * (p % 2)>(q, 3));
      out[2 + h] = vreinterpretq_s8_u8(bits<4 * (p % 2) + 2>(q, 3));
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const float d = half_at(s.data + 80);
    const float dmin = half_at(s.data + 82);
    const uint8x8x2_t packed = vld2_u8(s.data);  // of first and of second halves
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      out.scales[h] = times(from_bytes(vand_u8(packed.val[h], vdup_n_u8(15))), d);
      out.mins[h] = times(from_bytes(vshr_n_u8(packed.val[h], 4)), dmin);
    }
  }
};

struct Q3_K : FormatBase<110, true, true, false> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const uint8x16_t q = load_bytes(s.data + 32 + 32 * (p / 2) + 16 * h);
      const uint8x16_t high = load_bytes(s.data + 16 * h);
      out[h] = less(with_bits<2 * p, 2>(bits<4 * (p % 2)>(q, 3), high, 1), 4);
      out[2 + h] = less(with_bits<2 * p + 1, 2>(bits<4 * (p % 2) + 2>(q, 3), high, 1), 4);
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const auto low = load<uint64_t>(s.data + 96);
    const uint64_t high = load<uint32_t>(s.data + 104);
    constexpr uint64_t kNibbles = 0x0f0f0f0f0f0f0f0f;
    constexpr uint64_t kPairs = 0x03030303;
    // Scale k: nibble k % 8 of the low bytes, bits 2 (k / 4) of high byte k % 4.
    const uint64_t first = (low & kNibbles) | (high & kPairs) << 4 | (high >> 2 & kPairs) << 36;
    const uint64_t second =
        (low >> 4 & kNibbles) | (high >> 4 & kPairs) << 4 | (high >> 6 & kPairs) << 36;
    const int8x8_t a = vsub_s8(vcreate_s8(first), vdup_n_s8(32));
    const int8x8_t b = vsub_s8(vcreate_s8(second), vdup_n_s8(32));
    const float d = half_at(s.data + 108);
    out.scales[0] = times(from_signed_bytes(vuzp1_s8(a, b)), d);
    out.scales[1] = times(from_signed_bytes(vuzp2_s8(a, b)), d);
  }
};

/// The 6-bit scales and mins of Q4_K and Q5_K (quant::scale_min_of), all 8 at once.
LETHE_NEON_INLINE void scale_mins(const uint8_t* block, StepScales& out) noexcept {
  const uint64_t first = load<uint32_t>(block + 4);
  const uint64_t second = load<uint32_t>(block + 8);
  const uint64_t third = load<uint32_t>(block + 12);
  constexpr uint64_t kLow6 = 0x3f3f3f3f;
  constexpr uint64_t kLow4 = 0x0f0f0f0f;
  constexpr uint64_t kTop2 = 0x03030303;
  const uint64_t scale = (first & kLow6) | ((third & kLow4) | (first >> 6 & kTop2) << 4) << 32;
  const uint64_t min = (second & kLow6) | ((third >> 4 & kLow4) | (second >> 6 & kTop2) << 4) << 32;
  out.scales[0] = times(from_bytes(vcreate_u8(scale)), half_at(block));
  out.mins[0] = times(from_bytes(vcreate_u8(min)), half_at(block + 2));
}

struct Q4_K : FormatBase<144, true, false, true> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const uint8x16_t q = load_bytes(s.data + 16 + 32 * p + 16 * h);
      out[h] = vreinterpretq_s8_u8(bits<0>(q, 15));
      out[2 + h] = vreinterpretq_s8_u8(vshrq_n_u8(q, 4));
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    scale_mins(s.data, out);
  }
};

struct Q5_K : FormatBase<176, true, false, true> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const uint8x16_t q = load_bytes(s.data + 48 + 32 * p + 16 * h);
      const uint8x16_t high = load_bytes(s.data + 16 + 16 * h);
      out[h] = vreinterpretq_s8_u8(with_bits<2 * p, 4>(bits<0>(q, 15), high, 1));
      out[2 + h] = vreinterpretq_s8_u8(with_bits<2 * p + 1, 4>(vshrq_n_u8(q, 4), high, 1));
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    scale_mins(s.data, out);
  }
};

struct Q6_K : FormatBase<210, true, true, false> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
    constexpr int j = 2 * (p % 2);  // group of the half block
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const uint8_t* const low = s.data + 64 * (p / 2) + 16 * h;
      const uint8x16_t high = load_bytes(s.data + 128 + 32 * (p / 2) + 16 * h);
      out[h] = less(with_bits<2 * j, 4>(bits<2 * j>(load_bytes(low), 15), high, 3), 32);
      out[2 + h] =
          less(with_bits<2 * j + 2, 4>(bits<2 * j>(load_bytes(low + 32), 15), high, 3), 32);
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const uint8x8x2_t packed = vld2_u8(s.data + 192);  // of first and of second halves
    const float d = half_at(s.data + 208);
    out.scales[0] = times(from_signed_bytes(vreinterpret_s8_u8(packed.val[0])), d);
    out.scales[1] = times(from_signed_bytes(vreinterpret_s8_u8(packed.val[1])), d);
  }
};

}  // namespace
}  // namespace lethe::kernels
