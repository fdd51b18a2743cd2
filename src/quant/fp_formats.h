#pragma once

#include "quant/code_group.h"

// The ggml blocks of e2m1 codes, as formats of code_group.h. A value is a doubled integer times
// half the scale, so code 8 is +0 and not -0. Source: spec/formats.md sections 4.3 and 5.

namespace lethe::quant {

/// Twice the value of an e2m1 code, as an integer: 0 1 2 3 4 6 8 12, negated for codes 8..15. The
/// slope doubles at codes 4 and 6; written as arithmetic on bytes, which becomes vector code.
inline int8_t doubled_e2m1(uint8_t code) noexcept {
  const auto m = static_cast<int8_t>(code & 7);
  const auto past_4 = static_cast<int8_t>(m > 4 ? m - 4 : 0);
  const auto past_6 = static_cast<int8_t>(m > 6 ? m - 6 : 0);
  const auto magnitude = static_cast<int8_t>(m + past_4 + 2 * past_6);
  return static_cast<int8_t>((code & 8) != 0 ? -magnitude : magnitude);
}

/// `count` bytes make 2 * count codes, low nibbles first.
template <int kCount>
void unpack_doubled_e2m1(const uint8_t* pairs, int8_t* codes) noexcept {
  for (int i = 0; i < kCount; ++i) {
    codes[i] = doubled_e2m1(static_cast<uint8_t>(pairs[i] & 15));
    codes[i + kCount] = doubled_e2m1(static_cast<uint8_t>(pairs[i] >> 4));
  }
}

struct MXFP4 {
  static constexpr DType kDType = DType::MXFP4;
  static constexpr int kBlockBytes = 17;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  /// An e8m0 scale of 255 decodes to NaN (ggml reads 2^128 there; such files are refused).
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = e8m0_to_f32(block[0]) * 0.5F;
    unpack_doubled_e2m1<16>(block + 1, out.codes);
  }
};

struct NVFP4 {
  static constexpr DType kDType = DType::NVFP4;
  static constexpr int kBlockBytes = 36;
  static constexpr int kGroups = 2;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  /// Runs of 16: 4 unsigned e4m3 scales (0x7f counts as 0, the top bit is ignored), 8 bytes each.
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    for (int half = 0; half < 2; ++half) {
      const int run = 2 * g + half;
      const auto scale = static_cast<uint8_t>(block[run] & 0x7fu);
      out.scales[half] = scale == 0x7f ? 0.0F : e4m3_to_f32(scale) * 0.5F;
      unpack_doubled_e2m1<8>(block + 4 + 8 * run, out.codes + CodeGroup::kHalf * half);
    }
  }
};

}  // namespace lethe::quant
