#include "tensor/rounding.h"

#include <algorithm>

namespace lethe {

namespace {

constexpr uint32_t bits_of(float x) {
  return std::bit_cast<uint32_t>(x);
}

// A float format narrower than f32: sign, then an exponent, then `kMantissaBits`.
template <int kMantissaBits, int kBias, uint32_t kMaxCode>
struct Minifloat {
  static constexpr int kShift = 23 - kMantissaBits;
  static constexpr int kMinExponent = 1 - kBias;
  static constexpr float kMinNormal =
      std::bit_cast<float>(static_cast<uint32_t>(127 + kMinExponent) << 23);
  // One ulp of this constant is the format's subnormal step, so adding it rounds there.
  static constexpr float kSubnormalRounder =
      std::bit_cast<float>(static_cast<uint32_t>(127 + kMinExponent + kShift) << 23);

  // Code of |x|, nearest even, at most kMaxCode; x is not NaN.
  static uint32_t magnitude_code(float x) noexcept {
    uint32_t u = bits_of(x) & 0x7fffffffu;
    const float magnitude = std::bit_cast<float>(u);
    if (magnitude < kMinNormal) {
      return bits_of(magnitude + kSubnormalRounder) - bits_of(kSubnormalRounder);
    }
    u += (1u << (kShift - 1)) - 1u + ((u >> kShift) & 1u);
    u -= static_cast<uint32_t>(127 - kBias) << 23;
    return std::min(u >> kShift, kMaxCode);
  }
};

using Half = Minifloat<10, 15, 0x7c00>;
using E4m3 = Minifloat<3, 7, 0x7e>;
using E2m1 = Minifloat<1, 1, 7>;

bool is_nan(float x) {
  return (bits_of(x) & 0x7fffffffu) > 0x7f800000u;
}
uint32_t sign_bit(float x) {
  return bits_of(x) >> 31;
}

}  // namespace

uint16_t f16_bits(float x) noexcept {
  const uint32_t sign = sign_bit(x) << 15;
  if (is_nan(x)) return static_cast<uint16_t>(sign | 0x7e00u | ((bits_of(x) >> 13) & 0x3ffu));
  return static_cast<uint16_t>(sign | Half::magnitude_code(x));
}

uint8_t e4m3_bits(float x) noexcept {
  const uint32_t code = is_nan(x) ? 0x7fu : E4m3::magnitude_code(x);
  return static_cast<uint8_t>(sign_bit(x) << 7 | code);
}

uint8_t e2m1_bits(float x) noexcept {
  const uint32_t code = is_nan(x) ? 7u : E2m1::magnitude_code(x);
  return static_cast<uint8_t>(sign_bit(x) << 3 | code);
}

}  // namespace lethe
