#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/rounding.h"

// The one form that every ggml block is unpacked to, whether it is to be decoded to f32 or
// multiplied in integers. Source: spec/formats.md section 5.
//
// A format is a struct (legacy_formats.h, fp_formats.h, k_formats.h, i_formats.h) with
//   kDType                       the storage type
//   kBlockBytes, kGroups         bytes of a block; groups of 32 elements in it
//   kHalfScales                  the two halves of a group have scales (and mins) of their own
//   kMins                        values have an offset
//   unpack(block, g, out)        writes codes, scales[0], and where the flags say so scales[1],
//   mins

namespace lethe::quant {

/// 32 consecutive elements of a row: element i is scales[i / 16] * codes[i] - mins[i / 16], rounded
/// after the product and after the difference. Without kHalfScales only index 0 is used.
struct CodeGroup {
  static constexpr int kSize = 32;
  static constexpr int kHalf = 16;
  int8_t codes[kSize];
  float scales[2];
  float mins[2];
};

inline float half_at(const uint8_t* p) noexcept {
  return f16_to_f32(load_unaligned<uint16_t>(p));
}

/// Low nibbles of 16 bytes are the first half of the group, high nibbles the second.
inline void split_nibbles(const uint8_t* pairs, int offset, int8_t* codes) noexcept {
  for (int i = 0; i < CodeGroup::kHalf; ++i) {
    codes[i] = static_cast<int8_t>((pairs[i] & 15) - offset);
    codes[i + CodeGroup::kHalf] = static_cast<int8_t>((pairs[i] >> 4) - offset);
  }
}

/// The same with codes that a table of 16 gives.
inline void look_up_nibbles(const uint8_t* pairs, const int8_t* table, int8_t* codes) noexcept {
  for (int i = 0; i < CodeGroup::kHalf; ++i) {
    codes[i] = table[pairs[i] & 15];
    codes[i + CodeGroup::kHalf] = table[pairs[i] >> 4];
  }
}

/// Elements of a group to f32, in the arithmetic of CodeGroup.
template <typename Format>
void decode_group(const CodeGroup& group, float* out) noexcept {
  for (int half = 0; half < 2; ++half) {
    const int at = CodeGroup::kHalf * half;
    const int index = Format::kHalfScales ? half : 0;
    for (int i = at; i < at + CodeGroup::kHalf; ++i) {
      const float product = group.scales[index] * static_cast<float>(group.codes[i]);
      out[i] = Format::kMins ? product - group.mins[index] : product;
    }
  }
}

/// `blocks` consecutive blocks to f32.
template <typename Format>
void decode_format(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* block = reinterpret_cast<const uint8_t*>(data);
  CodeGroup group;
  for (; blocks > 0; --blocks, block += Format::kBlockBytes) {
    for (int g = 0; g < Format::kGroups; ++g, out += CodeGroup::kSize) {
      Format::unpack(block, g, group);
      decode_group<Format>(group, out);
    }
  }
}

}  // namespace lethe::quant
