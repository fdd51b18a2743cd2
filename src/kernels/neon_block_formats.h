#pragma once

#include "kernels/neon_vectors.h"

// Encodings with Int8 activations as NEON vectors, 8 groups of 32 elements (a step) at a time: the
// same numbers as quant/*_formats.h, whose structs say where each field lies. Only for translation
// units with wide flags, so all of it is in an unnamed namespace and uses no library.
//
// A format has
//   kStepBytes         bytes of 8 groups
//   kWhole             rows hold whole steps only (blocks of 256)
//   kHalfScales, kMins as in quant/code_group.h
//   kOwnScales         scales lie in a tensor of their own
//   pair<p>(s, out)    codes of groups 2p and 2p + 1, 4 vectors
//   scales(s, out)     the scales (and mins) of the 8 groups

namespace lethe::kernels {
namespace {

constexpr int kGroup = 32;
constexpr int kGroups = 8;                   // of a step
constexpr int64_t kStep = kGroup * kGroups;  // elements

/// The bytes of 8 groups of a row.
struct Step {
  const uint8_t* data;
  const uint8_t* scales;  // Fp4Row: e8m0 bytes or f32
  bool scales_f32;
};

/// A number for each of 8 groups.
struct Eight {
  float32x4_t v[2];
};

/// [1] is of the second half. Formats set what their flags say.
struct StepScales {
  Eight scales[2];
  Eight mins[2];
};

LETHE_NEON_INLINE Eight times(Eight a, float b) noexcept {
  return {{vmulq_n_f32(a.v[0], b), vmulq_n_f32(a.v[1], b)}};
}
LETHE_NEON_INLINE Eight from_words(uint16x8_t words) noexcept {
  return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))), vcvtq_f32_u32(vmovl_high_u16(words))}};
}
LETHE_NEON_INLINE Eight from_bytes(uint8x8_t bytes) noexcept {
  return from_words(vmovl_u8(bytes));
}
LETHE_NEON_INLINE Eight from_signed_bytes(int8x8_t bytes) noexcept {
  const int16x8_t words = vmovl_s8(bytes);
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(words))), vcvtq_f32_s32(vmovl_high_s16(words))}};
}
LETHE_NEON_INLINE Eight from_halves(uint16x8_t halves) noexcept {
  return {{vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(halves))),
           vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(halves)))}};
}

LETHE_NEON_INLINE float half_value(uint16_t half) noexcept {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
}
LETHE_NEON_INLINE float half_at(const uint8_t* p) noexcept {
  return half_value(load<uint16_t>(p));
}
/// Halves at p, p + stride, ...
LETHE_NEON_INLINE Eight halves(const uint8_t* p, ptrdiff_t stride) noexcept {
  uint16x8_t all = vdupq_n_u16(load<uint16_t>(p));
  all = vsetq_lane_u16(load<uint16_t>(p + stride), all, 1);
  all = vsetq_lane_u16(load<uint16_t>(p + 2 * stride), all, 2);
  all = vsetq_lane_u16(load<uint16_t>(p + 3 * stride), all, 3);
  all = vsetq_lane_u16(load<uint16_t>(p + 4 * stride), all, 4);
  all = vsetq_lane_u16(load<uint16_t>(p + 5 * stride), all, 5);
  all = vsetq_lane_u16(load<uint16_t>(p + 6 * stride), all, 6);
  all = vsetq_lane_u16(load<uint16_t>(p + 7 * stride), all, 7);
  return from_halves(all);
}
/// Half of 2^(byte - 127), NaN for 255.
LETHE_NEON_INLINE float32x4_t half_e8m0(uint32x4_t e) noexcept {
  // 2^-127 is subnormal, and NaN has a mantissa bit: the same one.
  const uint32x4_t special = vorrq_u32(vceqzq_u32(e), vceqq_u32(e, vdupq_n_u32(255)));
  const uint32x4_t bits =
      vorrq_u32(vshlq_n_u32(e, 23), vandq_u32(special, vdupq_n_u32(0x00400000)));
  return vmulq_n_f32(vreinterpretq_f32_u32(bits), 0.5F);
}
LETHE_NEON_INLINE Eight half_e8m0(uint8x8_t e) noexcept {
  const uint16x8_t words = vmovl_u8(e);
  return {{half_e8m0(vmovl_u16(vget_low_u16(words))), half_e8m0(vmovl_high_u16(words))}};
}

/// 16 bytes of nibbles: 16 low ones, then 16 high ones.
LETHE_NEON_INLINE void nibbles(const uint8_t* p, uint8x16_t* out) noexcept {
  const uint8x16_t v = load_bytes(p);
  out[0] = vandq_u8(v, vdupq_n_u8(15));
  out[1] = vshrq_n_u8(v, 4);
}

/// table[code] for codes 0..15.
LETHE_NEON_INLINE int8x16_t look_up(int8x16_t table, uint8x16_t codes) noexcept {
  return vqtbl1q_s8(table, codes);
}
LETHE_NEON_INLINE int8x16_t doubled_e2m1_table() noexcept {
  constexpr int8_t kTable[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return vld1q_s8(kTable);
}
LETHE_NEON_INLINE int8x16_t iq4nl_table() noexcept {
  constexpr int8_t kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};
  return vld1q_s8(kTable);
}

/// Byte i of 32 is all ones where bit i of `mask` is set.
LETHE_NEON_INLINE void mask_of_bits(uint32_t mask, uint8x16_t* out) noexcept {
  const uint8x16_t four = vreinterpretq_u8_u32(vdupq_n_u32(mask));
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const uint8x16_t low = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
  const uint8x16_t high = vcombine_u8(vdup_n_u8(2), vdup_n_u8(3));
  out[0] = vtstq_u8(vqtbl1q_u8(four, low), bit);
  out[1] = vtstq_u8(vqtbl1q_u8(four, high), bit);
}

template <int kBytes, bool kWholeSteps, bool kTwoScales, bool kHasMins>
struct FormatBase {
  static constexpr int kStepBytes = kBytes;
  static constexpr bool kWhole = kWholeSteps;
  static constexpr bool kHalfScales = kTwoScales;
  static constexpr bool kMins = kHasMins;
  static constexpr bool kOwnScales = false;
};

// --- the release, and blocks of 32 and 64

struct Fp4Row : FormatBase<128, false, false, false> {
  static constexpr bool kOwnScales = true;
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
    const int8x16_t table = doubled_e2m1_table();
#pragma GCC unroll 2
    for (int g = 0; g < 2; ++g) {
      uint8x16_t parity[2];  // even elements, odd ones
      nibbles(s.data + 32 * p + 16 * g, parity);
      out[2 * g] = look_up(table, vzip1q_u8(parity[0], parity[1]));
      out[2 * g + 1] = look_up(table, vzip2q_u8(parity[0], parity[1]));
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    if (s.scales_f32) {
      out.scales[0] = times({{load_f32(s.scales), load_f32(s.scales + 16)}}, 0.5F);
    } else {
      out.scales[0] = half_e8m0(vld1_u8(s.scales));
    }
  }
};

/// Blocks of 32 that are a header, with a half and perhaps a minimum, and 32 codes that kCodes
/// unpacks.
template <int kBlock, bool kHasMins, void (*kCodes)(const uint8_t*, int8x16_t*) noexcept>
struct Blocks32 : FormatBase<8 * kBlock, false, false, kHasMins> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
    kCodes(s.data + kBlock * (2 * p), out);
    kCodes(s.data + kBlock * (2 * p + 1), out + 2);
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    out.scales[0] = halves(s.data, kBlock);
    if constexpr (kHasMins) {
      const Eight m = halves(s.data + 2, kBlock);
      out.mins[0] = {{vnegq_f32(m.v[0]), vnegq_f32(m.v[1])}};
    }
  }
};

/// Nibbles, with a fifth bit where `high` is given, less an offset.
LETHE_NEON_INLINE void plain_codes(const uint8_t* p, const uint8_t* high, int offset,
                                   int8x16_t* out) noexcept {
  uint8x16_t code[2];
  nibbles(p, code);
  uint8x16_t bits[2] = {vdupq_n_u8(0), vdupq_n_u8(0)};
  if (high != nullptr) mask_of_bits(load<uint32_t>(high), bits);
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const uint8x16_t all = vorrq_u8(code[h], vandq_u8(bits[h], vdupq_n_u8(16)));
    out[h] = vsubq_s8(vreinterpretq_s8_u8(all), vdupq_n_s8(static_cast<int8_t>(offset)));
  }
}
LETHE_NEON_INLINE void table_codes(const uint8_t* p, int8x16_t table, int8x16_t* out) noexcept {
  uint8x16_t code[2];
  nibbles(p, code);
  out[0] = look_up(table, code[0]);
  out[1] = look_up(table, code[1]);
}

LETHE_NEON_INLINE void q8_0_codes(const uint8_t* block, int8x16_t* out) noexcept {
  out[0] = load_codes(block + 2);
  out[1] = load_codes(block + 18);
}
LETHE_NEON_INLINE void q4_0_codes(const uint8_t* block, int8x16_t* out) noexcept {
  plain_codes(block + 2, nullptr, 8, out);
}
LETHE_NEON_INLINE void q4_1_codes(const uint8_t* block, int8x16_t* out) noexcept {
  plain_codes(block + 4, nullptr, 0, out);
}
LETHE_NEON_INLINE void q5_0_codes(const uint8_t* block, int8x16_t* out) noexcept {
  plain_codes(block + 6, block + 2, 16, out);
}
LETHE_NEON_INLINE void q5_1_codes(const uint8_t* block, int8x16_t* out) noexcept {
  plain_codes(block + 8, block + 4, 0, out);
}
LETHE_NEON_INLINE void iq4_nl_codes(const uint8_t* block, int8x16_t* out) noexcept {
  table_codes(block + 2, iq4nl_table(), out);
}
LETHE_NEON_INLINE void mxfp4_codes(const uint8_t* block, int8x16_t* out) noexcept {
  table_codes(block + 1, doubled_e2m1_table(), out);
}

using Q8_0 = Blocks32<34, false, q8_0_codes>;
using Q4_0 = Blocks32<18, false, q4_0_codes>;
using Q4_1 = Blocks32<20, true, q4_1_codes>;
using Q5_0 = Blocks32<22, false, q5_0_codes>;
using Q5_1 = Blocks32<24, true, q5_1_codes>;
using IQ4_NL = Blocks32<18, false, iq4_nl_codes>;

struct MXFP4 : Blocks32<17, false, mxfp4_codes> {
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    uint64_t exponents = 0;
    for (int g = 0; g < kGroups; ++g) exponents |= uint64_t{s.data[17 * g]} << (8 * g);
    out.scales[0] = half_e8m0(vcreate_u8(exponents));
  }
};

struct NVFP4 : FormatBase<144, false, true, false> {
  template <int p>
  LETHE_NEON_INLINE static void pair(const Step& s, int8x16_t* out) noexcept {
    const int8x16_t table = doubled_e2m1_table();
#pragma GCC unroll 2
    for (int g = 0; g < 2; ++g) {  // two runs of 16: 8 bytes each, low nibbles first
      uint8x16_t code[2];
      nibbles(s.data + 36 * p + 4 + 16 * g, code);
      out[2 * g] = look_up(table, vcombine_u8(vget_low_u8(code[0]), vget_low_u8(code[1])));
      out[2 * g + 1] = look_up(table, vcombine_u8(vget_high_u8(code[0]), vget_high_u8(code[1])));
    }
  }
  LETHE_NEON_INLINE static void scales(const Step& s, StepScales& out) noexcept {
    uint32x4_t runs = vdupq_n_u32(load<uint32_t>(s.data));
    runs = vsetq_lane_u32(load<uint32_t>(s.data + 36), runs, 1);
    runs = vsetq_lane_u32(load<uint32_t>(s.data + 72), runs, 2);
    runs = vsetq_lane_u32(load<uint32_t>(s.data + 108), runs, 3);
    const uint16x8_t pairs = vreinterpretq_u16_u32(runs);
    out.scales[0] = half_e4m3(pairs);
    out.scales[1] = half_e4m3(vshrq_n_u16(pairs, 8));
  }
  /// Half the unsigned e4m3 in the low byte of each word; 0x7f counts as 0. As an f16 its bits are
  /// 2^-8 of the value.
  LETHE_NEON_INLINE static Eight half_e4m3(uint16x8_t words) noexcept {
    const uint16x8_t nan = vdupq_n_u16(0x7f);
    const uint16x8_t code = vandq_u16(words, nan);
    const uint16x8_t valid = vbicq_u16(code, vceqq_u16(code, nan));
    return times(from_halves(vshlq_n_u16(valid, 7)), 128.0F);
  }
};

}  // namespace
}  // namespace lethe::kernels
