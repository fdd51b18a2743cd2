#pragma once

#include "quant/code_group.h"
#include "quant/iq_tables.h"

// ggml's i-quants: 256 elements in 8 groups, each of 4 sub-groups l of 8 elements that an index
// picks from a codebook, as formats of code_group.h. Source: spec/formats.md section 5.

namespace lethe::quant {

inline uint16_t u16_at(const uint8_t* p) noexcept {
  return load_unaligned<uint16_t>(p);
}
inline uint32_t u32_at(const uint8_t* p) noexcept {
  return load_unaligned<uint32_t>(p);
}

/// `count` codebook values, negated where the sign bit is set.
inline void signed_codes(const uint8_t* grid, int count, uint32_t signs, int8_t* codes) noexcept {
  for (int j = 0; j < count; ++j) {
    codes[j] = static_cast<int8_t>(((signs >> j) & 1u) != 0 ? -grid[j] : grid[j]);
  }
}

/// IQ1 values are grid (-1, 0, 1) +- 1/8: 8 of them as eighths.
inline void ternary_codes(uint32_t index, bool negative_delta, int8_t* codes) noexcept {
  const int delta = negative_delta ? -1 : 1;
  for (int j = 0; j < 8; ++j) codes[j] = static_cast<int8_t>(8 * kIq1sGrid[index][j] + delta);
}

struct IQ1_S {
  static constexpr DType kDType = DType::IQ1_S;
  static constexpr int kBlockBytes = 50;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const uint32_t high = u16_at(block + 34 + 2 * g);
    out.scales[0] = half_at(block) * static_cast<float>(2 * ((high >> 12) & 7u) + 1) * 0.125F;
    for (int l = 0; l < 4; ++l) {
      const uint32_t index = block[2 + 4 * g + l] | ((high >> (3 * l)) & 7u) << 8;
      ternary_codes(index, (high >> 15) != 0, out.codes + 8 * l);
    }
  }
};

struct IQ1_M {
  static constexpr DType kDType = DType::IQ1_M;
  static constexpr int kBlockBytes = 56;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  /// The half is spread over the top nibbles of the four scale words.
  static float half_of(const uint8_t* words) noexcept {
    uint32_t bits = 0;
    for (int k = 0; k < 4; ++k) bits |= static_cast<uint32_t>(u16_at(words + 2 * k) >> 12) << 4 * k;
    return f16_to_f32(static_cast<uint16_t>(bits));
  }
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const float d = half_of(block + 48);
    const uint32_t scales = u16_at(block + 48 + 2 * (g / 2));
    for (int half = 0; half < 2; ++half) {
      const uint32_t scale = (scales >> (6 * (g % 2) + 3 * half)) & 7u;
      out.scales[half] = d * static_cast<float>(2 * scale + 1) * 0.125F;
    }
    for (int l = 0; l < 4; ++l) {
      const uint32_t high = static_cast<uint32_t>(block[32 + 2 * g + l / 2] >> (4 * (l % 2))) & 15u;
      const uint32_t index = block[4 * g + l] | (high & 7u) << 8;
      ternary_codes(index, (high & 8u) != 0, out.codes + 8 * l);
    }
  }
};

struct IQ2_XXS {
  static constexpr DType kDType = DType::IQ2_XXS;
  static constexpr int kBlockBytes = 66;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const uint8_t* index = block + 2 + 8 * g;
    const uint32_t s = u32_at(index + 4);
    out.scales[0] = (half_at(block) * (0.5F + static_cast<float>(s >> 28))) * 0.25F;
    for (int l = 0; l < 4; ++l) {
      const uint32_t signs = kIq2Signs[(s >> (7 * l)) & 127u];
      signed_codes(kIq2xxsGrid[index[l]], 8, signs, out.codes + 8 * l);
    }
  }
};

/// Scales of IQ2_XS and IQ2_S: a nibble per 16 elements.
inline void unpack_iq2_scales(float d, uint8_t nibbles, CodeGroup& out) noexcept {
  out.scales[0] = (d * (0.5F + static_cast<float>(nibbles & 15))) * 0.25F;
  out.scales[1] = (d * (0.5F + static_cast<float>(nibbles >> 4))) * 0.25F;
}

struct IQ2_XS {
  static constexpr DType kDType = DType::IQ2_XS;
  static constexpr int kBlockBytes = 74;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    unpack_iq2_scales(half_at(block), block[66 + g], out);
    for (int l = 0; l < 4; ++l) {
      const uint16_t q = u16_at(block + 2 + 8 * g + 2 * l);
      signed_codes(kIq2xsGrid[q & 511u], 8, kIq2Signs[q >> 9], out.codes + 8 * l);
    }
  }
};

struct IQ2_S {
  static constexpr DType kDType = DType::IQ2_S;
  static constexpr int kBlockBytes = 82;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = true;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    unpack_iq2_scales(half_at(block), block[74 + g], out);
    for (int l = 0; l < 4; ++l) {
      const uint32_t high = static_cast<uint32_t>(block[66 + g] >> (2 * l)) & 3u;
      const uint32_t index = block[2 + 4 * g + l] | high << 8;
      signed_codes(kIq2sGrid[index], 8, block[34 + 4 * g + l], out.codes + 8 * l);
    }
  }
};

struct IQ3_XXS {
  static constexpr DType kDType = DType::IQ3_XXS;
  static constexpr int kBlockBytes = 98;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const uint32_t s = u32_at(block + 66 + 4 * g);
    out.scales[0] = (half_at(block) * (0.5F + static_cast<float>(s >> 28))) * 0.5F;
    const uint8_t* index = block + 2 + 8 * g;
    for (int k = 0; k < 8; ++k) {  // runs of 4; k = 2 l + t
      const uint32_t signs = kIq2Signs[(s >> (7 * (k / 2))) & 127u];
      signed_codes(kIq3xxsGrid[index[k]], 4, signs >> (4 * (k % 2)), out.codes + 4 * k);
    }
  }
};

struct IQ3_S {
  static constexpr DType kDType = DType::IQ3_S;
  static constexpr int kBlockBytes = 110;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const int nibble = (block[106 + g / 2] >> (4 * (g % 2))) & 15;
    out.scales[0] = half_at(block) * static_cast<float>(1 + 2 * nibble);
    for (int k = 0; k < 8; ++k) {
      const uint32_t ninth = static_cast<uint32_t>(block[66 + g] >> k) & 1u;
      const uint32_t signs = static_cast<uint32_t>(block[74 + 4 * g + k / 2]) >> (4 * (k % 2));
      signed_codes(kIq3sGrid[block[2 + 8 * g + k] | ninth << 8], 4, signs, out.codes + 4 * k);
    }
  }
};

struct IQ4_XS {
  static constexpr DType kDType = DType::IQ4_XS;
  static constexpr int kBlockBytes = 136;
  static constexpr int kGroups = 8;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int g, CodeGroup& out) noexcept {
    const int low = (block[4 + g / 2] >> (4 * (g % 2))) & 15;
    const int high = (u16_at(block + 2) >> (2 * g)) & 3;
    out.scales[0] = half_at(block) * static_cast<float>((low | high << 4) - 32);
    look_up_nibbles(block + 8 + 16 * g, kIq4nlValues, out.codes);
  }
};

}  // namespace lethe::quant
