#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

// Every place that narrows a number is a function of this file or of quant/. Nearest, ties to
// even, unless said. Source: spec/deepseek-v4.md section 3, spec/deepseek-v4.1.md section 3.

namespace lethe {

/// f32 -> bf16 bits. NaN stays NaN (quiet); overflow goes to infinity as IEEE says.
inline uint16_t bf16_bits(float x) noexcept {
  uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
  u += 0x7fffu + ((u >> 16) & 1u);
  return static_cast<uint16_t>(u >> 16);
}
inline float bf16_to_f32(uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
/// f32 rounded to the nearest bf16 value, still in an f32.
inline float round_to_bf16(float x) noexcept {
  return bf16_to_f32(bf16_bits(x));
}

/// IEEE half bits -> f32, exact (subnormals included; a NaN keeps its payload bits).
inline float f16_to_f32(uint16_t bits) noexcept {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t fields = static_cast<uint32_t>(bits & 0x7fffu) << 13;
  // The half's fields in an f32 stand for the value times 2^-112; the product with 2^112 is exact.
  // Infinity and NaN then need only a full exponent; without a branch, so that loops vectorize.
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(fields) * 0x1p112f);
  const uint32_t special = fields >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(sign | finite | special);
}
/// f32 -> IEEE half bits. NaN stays NaN (quiet); overflow goes to infinity as IEEE says.
uint16_t f16_bits(float x) noexcept;

namespace internal {

constexpr std::array<float, 256> make_e4m3_values() {
  std::array<float, 256> values{};
  for (int code = 0; code < 256; ++code) {
    const int exponent = (code >> 3) & 15;
    const int mantissa = code & 7;
    float v = static_cast<float>(exponent == 0 ? mantissa : 8 + mantissa) * 0x1p-9f;
    for (int e = 1; e < exponent; ++e) v *= 2.0F;
    const float sign = (code & 0x80) != 0 ? -1.0F : 1.0F;
    values[static_cast<size_t>(code)] = sign * v;
  }
  values[0x7f] = std::bit_cast<float>(0x7fc00000u);
  values[0xff] = std::bit_cast<float>(0xffc00000u);
  return values;
}
inline constexpr std::array<float, 256> kE4m3Values = make_e4m3_values();
inline constexpr std::array<float, 16> kE2m1Values = {0.0F,  0.5F,  1.0F,  1.5F,  2.0F,  3.0F,
                                                      4.0F,  6.0F,  -0.0F, -0.5F, -1.0F, -1.5F,
                                                      -2.0F, -3.0F, -4.0F, -6.0F};

}  // namespace internal

/// e4m3fn: bias 7, no infinities, 0x7f/0xff NaN, max 448, subnormal step 2^-9.
inline float e4m3_to_f32(uint8_t bits) noexcept {
  return internal::kE4m3Values[bits];
}
/// Saturating at +-448; NaN -> 0x7f with x's sign.
uint8_t e4m3_bits(float x) noexcept;

/// e2m1 code (sign in bit 3; higher bits are ignored): 0 .5 1 1.5 2 3 4 6.
inline float e2m1_to_f32(uint8_t code) noexcept {
  return internal::kE2m1Values[code & 15u];
}
/// Saturating at +-6; ties go to the even code; a NaN gives +6 or -6 by its sign.
uint8_t e2m1_bits(float x) noexcept;

/// e8m0: 2^(bits-127); 255 is NaN.
inline float e8m0_to_f32(uint8_t bits) noexcept {
  if (bits == 255) return std::bit_cast<float>(0x7fc00000u);
  return std::bit_cast<float>(bits == 0 ? 0x00400000u : static_cast<uint32_t>(bits) << 23);
}
/// The e8m0 byte of 2^ceil(log2 x), from the bits of a positive, finite x: its exponent field, plus
/// one if any mantissa bit is set (spec: P(x), P2). Subnormals round up to 2^-126.
inline uint8_t e8m0_ceil_bits(float x) noexcept {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  return static_cast<uint8_t>((u >> 23) + ((u & 0x7fffffu) != 0 ? 1u : 0u));
}

template <typename T>
T load_unaligned(const void* p) noexcept {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

}  // namespace lethe
