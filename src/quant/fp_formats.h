#pragma once

#include "quant/code_group.h"
#include "quant/iq_tables.h"

// The ggml blocks of e2m1 codes, as formats of code_group.h. A value is a doubled integer times
// half the scale, so code 8 is +0 and not -0. Source: spec/formats.md sections 4.3 and 5.

namespace lethe::quant {

struct MXFP4 {
  static constexpr DType kDType = DType::MXFP4;
  static constexpr int kBlockBytes = 17;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  /// An e8m0 scale of 255 decodes to NaN (ggml reads 2^128 there; such files are refused).
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = e8m0_to_f32(block[0]) * 0.5F;
    look_up_nibbles(block + 1, 16, kMxfp4Values, out.codes);
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
      look_up_nibbles(block + 4 + 8 * run, 8, kMxfp4Values, out.codes + CodeGroup::kHalf * half);
    }
  }
};

}  // namespace lethe::quant
