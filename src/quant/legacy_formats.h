#pragma once

#include <cstring>

#include "quant/code_group.h"
#include "quant/iq_tables.h"

// ggml's 32-element blocks with half scales, as formats of code_group.h. Nibbles: low = first 16
// elements, high = last 16. Source: spec/formats.md section 5.

namespace lethe::quant {

struct Q8_0 {
  static constexpr DType kDType = DType::Q8_0;
  static constexpr int kBlockBytes = 34;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    std::memcpy(out.codes, block + 2, sizeof(out.codes));
  }
};

struct Q4_0 {
  static constexpr DType kDType = DType::Q4_0;
  static constexpr int kBlockBytes = 18;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    split_nibbles(block + 2, 8, out.codes);
  }
};

struct Q4_1 {
  static constexpr DType kDType = DType::Q4_1;
  static constexpr int kBlockBytes = 20;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = true;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    out.mins[0] = -half_at(block + 2);
    split_nibbles(block + 4, 0, out.codes);
  }
};

/// Puts bit i of `high` above nibble i of 16 bytes, then subtracts `offset`.
inline void split_5_bits(const uint8_t* pairs, uint32_t high, int offset, int8_t* codes) noexcept {
  for (int i = 0; i < CodeGroup::kHalf; ++i) {
    const int low_half = (pairs[i] & 15) | static_cast<int>((high >> i) & 1u) << 4;
    const int high_half = (pairs[i] >> 4) | static_cast<int>((high >> (i + 16)) & 1u) << 4;
    codes[i] = static_cast<int8_t>(low_half - offset);
    codes[i + CodeGroup::kHalf] = static_cast<int8_t>(high_half - offset);
  }
}

struct Q5_0 {
  static constexpr DType kDType = DType::Q5_0;
  static constexpr int kBlockBytes = 22;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    split_5_bits(block + 6, load_unaligned<uint32_t>(block + 2), 16, out.codes);
  }
};

struct Q5_1 {
  static constexpr DType kDType = DType::Q5_1;
  static constexpr int kBlockBytes = 24;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = true;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    out.mins[0] = -half_at(block + 2);
    split_5_bits(block + 8, load_unaligned<uint32_t>(block + 4), 0, out.codes);
  }
};

struct IQ4_NL {
  static constexpr DType kDType = DType::IQ4_NL;
  static constexpr int kBlockBytes = 18;
  static constexpr int kGroups = 1;
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const uint8_t* block, int, CodeGroup& out) noexcept {
    out.scales[0] = half_at(block);
    look_up_nibbles(block + 2, kIq4nlValues, out.codes);
  }
};

}  // namespace lethe::quant
