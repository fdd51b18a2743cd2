#pragma once

#include <bit>
#include <cmath>
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
inline float round_to_bf16(float x) noexcept { return bf16_to_f32(bf16_bits(x)); }

/// IEEE half bits -> f32, exact (subnormals included).
float f16_to_f32(uint16_t bits) noexcept;
/// f32 -> IEEE half bits.
uint16_t f16_bits(float x) noexcept;

/// e4m3fn: bias 7, no infinities, 0x7f/0xff NaN, max 448, subnormal step 2^-9.
float e4m3_to_f32(uint8_t bits) noexcept;
/// Saturating at +-448; NaN -> 0x7f with x's sign.
uint8_t e4m3_bits(float x) noexcept;

/// e2m1 code (sign in bit 3): 0 .5 1 1.5 2 3 4 6.
float e2m1_to_f32(uint8_t code) noexcept;
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
