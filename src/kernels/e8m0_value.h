#pragma once

#include <cstdint>

// For translation units with wide flags, so it is in an unnamed namespace and uses no library.

namespace lethe::kernels {

namespace {

/// 2^(code - 127); NaN for 255.
[[gnu::always_inline]] inline float e8m0_value(uint8_t code) noexcept {
  const uint32_t quiet = code == 0 || code == 255 ? 0x00400000u : 0u;
  const uint32_t bits = uint32_t{code} << 23 | quiet;
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

}  // namespace

}  // namespace lethe::kernels
