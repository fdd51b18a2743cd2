#pragma once

#include "quant/code_group.h"

// ggml's K-quants: 256 elements, two-level scales, as formats of code_group.h. In Q2_K, Q3_K and
// Q6_K group g is j = g % 4 of half n = g / 4: the four groups of a half share bytes, each taking
// bits of its own; scales belong to runs of 16. Source: spec/formats.md section 5.

namespace lethe::quant {

struct Q2_K {
  static constexpr DType kDType = DType::Q2_K;
  static constexpr int kBlockBytes = 84;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = true;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const float d = half_at(block + 80);
    const float dmin = half_at(block + 82);
    for (int half = 0; half < 2; ++half) {
      const uint8_t packed = block[2 * g + half];
      out.scales[half] = d * static_cast<float>(packed & 15);
      out.mins[half] = dmin * static_cast<float>(packed >> 4);
    }
    const uint8_t* q = block + 16 + 32 * (g / 4);
    const int shift = 2 * (g % 4);
    for (int i = 0; i < 32; ++i) out.codes[i] = static_cast<int8_t>((q[i] >> shift) & 3);
  }
};

struct Q3_K {
  static constexpr DType kDType = DType::Q3_K;
  static constexpr int kBlockBytes = 110;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  /// Scale k (0..15): low nibbles in bytes 0..7, two high bits in bytes 8..11, bias 32.
  static int scale_of(const uint8_t* packed, int k) noexcept {
    const int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
    const int high = (packed[8 + k % 4] >> (2 * (k / 4))) & 3;
    return (low | high << 4) - 32;
  }
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const float d = half_at(block + 108);
    for (int half = 0; half < 2; ++half) {
      out.scales[half] = d * static_cast<float>(scale_of(block + 96, 2 * g + half));
    }
    const uint8_t* q = block + 32 + 32 * (g / 4);
    const int shift = 2 * (g % 4);
    for (int i = 0; i < 32; ++i) {
      const int third_bit = ((block[i] >> g) & 1) << 2;
      out.codes[i] = static_cast<int8_t>((((q[i] >> shift) & 3) | third_bit) - 4);
    }
  }
};

/// Scale and minimum of one group, 6 bits each, from the 12 packed bytes of Q4_K and Q5_K: the
/// first four pairs are the low 6 bits of whole bytes; the last four are nibbles completed by the
/// top bits of the first.
struct ScaleMin {
  int scale;
  int min;
};
inline ScaleMin scale_min_of(const uint8_t* packed, int g) noexcept {
  if (g < 4) return {packed[g] & 63, packed[g + 4] & 63};
  return {(packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4, (packed[g + 4] >> 4) | (packed[g] >> 6)
                                                                                       << 4};
}

/// scales[0] and mins[0] of the header d, dmin, packed[12] that Q4_K and Q5_K share.
inline void unpack_scale_min(const uint8_t* block, int g, CodeGroup& out) noexcept {
  const ScaleMin sm = scale_min_of(block + 4, g);
  out.scales[0] = half_at(block) * static_cast<float>(sm.scale);
  out.mins[0] = half_at(block + 2) * static_cast<float>(sm.min);
}

struct Q4_K {
  static constexpr DType kDType = DType::Q4_K;
  static constexpr int kBlockBytes = 144;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = true;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    unpack_scale_min(block, g, out);
    const uint8_t* q = block + 16 + 32 * (g / 2);
    const int shift = 4 * (g % 2);
    for (int i = 0; i < 32; ++i) out.codes[i] = static_cast<int8_t>((q[i] >> shift) & 15);
  }
};

struct Q5_K {
  static constexpr DType kDType = DType::Q5_K;
  static constexpr int kBlockBytes = 176;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = true;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    unpack_scale_min(block, g, out);
    const uint8_t* high = block + 16;
    const uint8_t* q = block + 48 + 32 * (g / 2);
    const int shift = 4 * (g % 2);
    for (int i = 0; i < 32; ++i) {
      out.codes[i] = static_cast<int8_t>(((q[i] >> shift) & 15) | ((high[i] >> g) & 1) << 4);
    }
  }
};

struct Q6_K {
  static constexpr DType kDType = DType::Q6_K;
  static constexpr int kBlockBytes = 210;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const float d = half_at(block + 208);
    for (int half = 0; half < 2; ++half) {
      out.scales[half] = d * static_cast<float>(static_cast<int8_t>(block[192 + 2 * g + half]));
    }
    const int j = g % 4;
    const uint8_t* low = block + 64 * (g / 4) + 32 * (j % 2);
    const uint8_t* high = block + 128 + 32 * (g / 4);
    const int low_shift = 4 * (j / 2);
    for (int i = 0; i < 32; ++i) {
      const int code = ((low[i] >> low_shift) & 15) | ((high[i] >> (2 * j)) & 3) << 4;
      out.codes[i] = static_cast<int8_t>(code - 32);
    }
  }
};

}  // namespace lethe::quant
