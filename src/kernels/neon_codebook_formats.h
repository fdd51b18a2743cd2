#pragma once

#include "kernels/neon_block_formats.h"

// The i-quants as formats of neon_block_formats.h: codes come from codebooks, 8 or 4 at a time.

namespace lethe::kernels {
namespace {

// A copy of the tables of our own: no symbol is shared with code of other flags.
#include "quant/iq_tables.inc"

/// Two entries of 8 bytes.
template <typename Entry>
LETHE_NEON_INLINE int8x16_t eights(const Entry (*grid)[8], uint32_t a, uint32_t b) noexcept {
  return vcombine_s8(vcreate_s8(load<uint64_t>(grid[a])), vcreate_s8(load<uint64_t>(grid[b])));
}

/// Codes of a group negated where the sign bit is set.
LETHE_NEON_INLINE void put_signs(uint32_t signs, int8x16_t* codes) noexcept {
  uint8x16_t mask[2];
  mask_of_bits(signs, mask);
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const int8x16_t m = vreinterpretq_s8_u8(mask[h]);
    codes[h] = vsubq_s8(veorq_s8(codes[h], m), m);
  }
}

/// The 4 x 8 signs that 4 fields of 7 bits stand for.
LETHE_NEON_INLINE uint32_t expand_signs(uint32_t fields) noexcept {
  uint32_t signs = 0;
  for (int l = 0; l < 4; ++l) signs |= uint32_t{kIq2Signs[fields >> (7 * l) & 127u]} << (8 * l);
  return signs;
}

/// (d * (0.5 + n)) * factor.
LETHE_NEON_INLINE Eight half_step_scale(float d, uint8x8_t n, float factor) noexcept {
  const Eight number = from_bytes(n);
  const float32x4_t half = vdupq_n_f32(0.5F);
  return times(times({{vaddq_f32(half, number.v[0]), vaddq_f32(half, number.v[1])}}, d), factor);
}
/// (d * (2 n + 1)) * 1/8.
LETHE_NEON_INLINE Eight eighth_scale(float d, uint8x8_t n) noexcept {
  return times(times(from_bytes(vorr_u8(vshl_n_u8(n, 1), vdup_n_u8(1))), d), 0.125F);
}

/// Formats whose group(block, g, out) unpacks one group.
template <typename Format>
struct ByGroup {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
    Format::group(s.data, 2 * p, out);
    Format::group(s.data, 2 * p + 1, out + 2);
  }
};

struct IQ2_XXS : FormatBase<66, true, false, false>, ByGroup<IQ2_XXS> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    out[0] = eights(kIq2xxsGrid, q[0], q[1]);
    out[1] = eights(kIq2xxsGrid, q[2], q[3]);
    put_signs(expand_signs(load<uint32_t>(q + 4)), out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    uint64_t last = 0;  // byte 7 of each group's 8
    for (int g = 0; g < kGroups; ++g) last |= uint64_t{s.data[9 + 8 * g]} << (8 * g);
    out.scales[0] = half_step_scale(half_at(s.data), vshr_n_u8(vcreate_u8(last), 4), 0.25F);
  }
};

/// Scales of IQ2_XS and IQ2_S: a nibble per half.
LETHE_NEON_INLINE void iq2_scales(const uint8_t* block, int offset, StepScales& out) noexcept {
  const float d = half_at(block);
  const uint8x8_t packed = vld1_u8(block + offset);
  out.scales[0] = half_step_scale(d, vand_u8(packed, vdup_n_u8(15)), 0.25F);
  out.scales[1] = half_step_scale(d, vshr_n_u8(packed, 4), 0.25F);
}

struct IQ2_XS : FormatBase<74, true, true, false>, ByGroup<IQ2_XS> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const auto q = load<uint64_t>(block + 2 + 8 * g);
    const auto word = [q](int l) { return static_cast<uint32_t>(q >> (16 * l)) & 0xffffu; };
    uint32_t signs = 0;
    for (int l = 0; l < 4; ++l) signs |= uint32_t{kIq2Signs[word(l) >> 9]} << (8 * l);
    out[0] = eights(kIq2xsGrid, word(0) & 511u, word(1) & 511u);
    out[1] = eights(kIq2xsGrid, word(2) & 511u, word(3) & 511u);
    put_signs(signs, out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    iq2_scales(s.data, 66, out);
  }
};

struct IQ2_S : FormatBase<82, true, true, false>, ByGroup<IQ2_S> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 2 + 4 * g;
    const uint32_t high = block[66 + g];
    const auto index = [&](int l) { return q[l] | (high >> (2 * l) & 3u) << 8; };
    out[0] = eights(kIq2sGrid, index(0), index(1));
    out[1] = eights(kIq2sGrid, index(2), index(3));
    put_signs(load<uint32_t>(block + 34 + 4 * g), out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    iq2_scales(s.data, 74, out);
  }
};

/// Eight entries of 4 bytes.
template <typename Index>
LETHE_NEON_INLINE void fours(const uint8_t (*grid)[4], Index index, int8x16_t* out) noexcept {
  const auto two = [&](int k) {
    return vcreate_s8(uint64_t{load<uint32_t>(grid[index(k)])} |
                      uint64_t{load<uint32_t>(grid[index(k + 1)])} << 32);
  };
  out[0] = vcombine_s8(two(0), two(2));
  out[1] = vcombine_s8(two(4), two(6));
}

struct IQ3_XXS : FormatBase<98, true, false, false>, ByGroup<IQ3_XXS> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    fours(
        kIq3xxsGrid, [q](int k) { return uint32_t{q[k]}; }, out);
    put_signs(expand_signs(load<uint32_t>(block + 66 + 4 * g)), out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    uint64_t last = 0;  // byte 3 of each group's 4
    for (int g = 0; g < kGroups; ++g) last |= uint64_t{s.data[69 + 4 * g]} << (8 * g);
    out.scales[0] = half_step_scale(half_at(s.data), vshr_n_u8(vcreate_u8(last), 4), 0.5F);
  }
};

/// Nibble g of 4 bytes at p, as byte g.
LETHE_NEON_INLINE uint8x8_t eight_nibbles(const uint8_t* p) noexcept {
  const uint8x8_t four = vreinterpret_u8_u32(vdup_n_u32(load<uint32_t>(p)));
  return vzip1_u8(vand_u8(four, vdup_n_u8(15)), vshr_n_u8(four, 4));
}

struct IQ3_S : FormatBase<110, true, false, false>, ByGroup<IQ3_S> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 2 + 8 * g;
    const uint32_t ninth = block[66 + g];
    fours(
        kIq3sGrid, [=](int k) { return q[k] | (ninth >> k & 1u) << 8; }, out);
    put_signs(load<uint32_t>(block + 74 + 4 * g), out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const uint8x8_t twice = vshl_n_u8(eight_nibbles(s.data + 106), 1);
    out.scales[0] = times(from_bytes(vorr_u8(twice, vdup_n_u8(1))), half_at(s.data));
  }
};

struct IQ4_XS : FormatBase<136, true, false, false>, ByGroup<IQ4_XS> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    table_codes(block + 8 + 16 * g, iq4nl_table(), out);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const uint32_t pairs = load<uint16_t>(s.data + 2);
    uint64_t high = 0;
    for (int g = 0; g < kGroups; ++g) high |= uint64_t{pairs >> (2 * g) & 3u} << (8 * g + 4);
    const uint8x8_t six = vorr_u8(eight_nibbles(s.data + 4), vcreate_u8(high));
    out.scales[0] =
        times(from_signed_bytes(vsub_s8(vreinterpret_s8_u8(six), vdup_n_s8(32))), half_at(s.data));
  }
};

/// IQ1: 8 * grid + delta, delta +-1 per run of 8 (all ones mean -1).
LETHE_NEON_INLINE int8x16_t ternary(uint32_t a, uint32_t b, int8x16_t delta) noexcept {
  return vaddq_s8(vshlq_n_s8(eights(kIq1sGrid, a, b), 3), delta);
}

struct IQ1_S : FormatBase<50, true, false, false>, ByGroup<IQ1_S> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 2 + 4 * g;
    const uint32_t high = load<uint16_t>(block + 34 + 2 * g);
    const auto index = [=](int l) { return q[l] | (high >> (3 * l) & 7u) << 8; };
    const int8x16_t delta = vdupq_n_s8(high >> 15 != 0 ? -1 : 1);
    out[0] = ternary(index(0), index(1), delta);
    out[1] = ternary(index(2), index(3), delta);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const uint16x8_t high = vreinterpretq_u16_u8(load_bytes(s.data + 34));
    const uint8x8_t n = vand_u8(vmovn_u16(vshrq_n_u16(high, 12)), vdup_n_u8(7));
    out.scales[0] = eighth_scale(half_at(s.data), n);
  }
};

struct IQ1_M : FormatBase<56, true, true, false>, ByGroup<IQ1_M> {
  LETHE_NEON_INLINE static void group(const uint8_t* block, int g, int8x16_t* out) noexcept {
    const uint8_t* q = block + 4 * g;
    const uint32_t high = load<uint16_t>(block + 32 + 2 * g);  // a nibble per run
    const auto index = [=](int l) { return q[l] | (high >> (4 * l) & 7u) << 8; };
    const auto delta = [=](int l) {
      return vdup_n_s8((high >> (4 * l) & 8u) != 0 ? int8_t{-1} : int8_t{1});
    };
    out[0] = ternary(index(0), index(1), vcombine_s8(delta(0), delta(1)));
    out[1] = ternary(index(2), index(3), vcombine_s8(delta(2), delta(3)));
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    const auto words = load<uint64_t>(s.data + 48);
    uint64_t half = 0;  // spread over the top nibbles
    for (int k = 0; k < 4; ++k) half |= (words >> (16 * k + 12) & 15u) << (4 * k);
    // Group g: two fields of 3 bits at 6 (g % 2) of word g / 2.
    uint64_t first = 0;
    uint64_t second = 0;
    for (int g = 0; g < kGroups; ++g) {
      const uint64_t fields = words >> (16 * (g / 2) + 6 * (g % 2));
      first |= (fields & 7u) << (8 * g);
      second |= (fields >> 3 & 7u) << (8 * g);
    }
    const float d = half_value(static_cast<uint16_t>(half));
    out.scales[0] = eighth_scale(d, vcreate_u8(first));
    out.scales[1] = eighth_scale(d, vcreate_u8(second));
  }
};

}  // namespace
}  // namespace lethe::kernels
