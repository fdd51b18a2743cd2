#include "tensor/rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

// The conversions against a slow search in exact double arithmetic: every representable magnitude
// is listed from the definition of the format, the nearest is taken, and of two equally near ones
// the even code.

namespace lethe {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

uint32_t bits_of(float x) {
  return std::bit_cast<uint32_t>(x);
}

struct Format {
  int mantissa_bits;
  int bias;
  uint32_t max_code;  // largest finite magnitude

  double value(uint32_t code) const {
    const int exponent = static_cast<int>(code >> mantissa_bits);
    const uint32_t mantissa = code & ((1u << mantissa_bits) - 1u);
    const double implicit = exponent == 0 ? 0.0 : std::ldexp(1.0, mantissa_bits);
    return std::ldexp(implicit + mantissa, std::max(exponent, 1) - bias - mantissa_bits);
  }

  // Nearest code to a finite magnitude; beyond the largest it saturates.
  uint32_t nearest(double magnitude) const {
    uint32_t low = 0;
    for (uint32_t step = std::bit_floor(max_code); step > 0; step /= 2) {
      if (low + step <= max_code && value(low + step) <= magnitude) low += step;
    }
    if (low == max_code) return low;
    const double below = magnitude - value(low);
    const double above = value(low + 1) - magnitude;
    if (below == above) return low % 2 == 0 ? low : low + 1;
    return below < above ? low : low + 1;
  }
};

constexpr Format kE4m3 = {3, 7, 0x7e};
constexpr Format kE2m1 = {1, 1, 7};
constexpr Format kHalf = {10, 15, 0x7bff};
constexpr Format kBf16 = {7, 127, 0x7f7f};

// Every code, every midpoint of neighbours, and the floats next to each of these.
std::vector<float> boundaries(const Format& format) {
  std::vector<float> out;
  const auto add = [&](double x) {
    const auto f = static_cast<float>(x);
    out.insert(out.end(), {f, std::nextafter(f, kInfinity), std::nextafter(f, -1.0F)});
  };
  for (uint32_t code = 0; code <= format.max_code; ++code) {
    const double here = format.value(code);
    add(here);
    if (code < format.max_code) add((here + format.value(code + 1)) / 2);
  }
  return out;
}

std::vector<float> random_floats(size_t count) {
  std::mt19937 random(20261123);
  std::vector<float> out(count);
  for (float& x : out) x = std::bit_cast<float>(static_cast<uint32_t>(random()));
  return out;
}

TEST(Rounding, WideningFollowsTheDefinition) {
  for (uint32_t code = 0; code < 256; ++code) {
    const float v = e4m3_to_f32(static_cast<uint8_t>(code));
    const uint32_t magnitude = code & 0x7fu;
    EXPECT_EQ(std::signbit(v), code >= 128) << code;
    if (magnitude == 0x7f) {
      EXPECT_TRUE(std::isnan(v)) << code;
    } else {
      EXPECT_EQ(std::abs(static_cast<double>(v)), kE4m3.value(magnitude)) << code;
    }
  }
  for (uint32_t code = 0; code < 16; ++code) {
    const float v = e2m1_to_f32(static_cast<uint8_t>(code));
    EXPECT_EQ(std::signbit(v), code >= 8) << code;
    EXPECT_EQ(std::abs(static_cast<double>(v)), kE2m1.value(code & 7u)) << code;
    EXPECT_EQ(bits_of(e2m1_to_f32(static_cast<uint8_t>(code | 0xa0u))), bits_of(v));
  }
}

TEST(Rounding, EveryHalfWidensExactlyAndReturns) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const float v = f16_to_f32(static_cast<uint16_t>(code));
    const uint32_t magnitude = code & 0x7fffu;
    ASSERT_EQ(std::signbit(v), code >= 0x8000) << code;
    if (magnitude > 0x7c00) {
      ASSERT_TRUE(std::isnan(v)) << code;
      ASSERT_EQ(f16_bits(v), code | 0x200u) << code;
      continue;
    }
    const double expected = magnitude == 0x7c00 ? HUGE_VAL : kHalf.value(magnitude);
    ASSERT_EQ(std::abs(static_cast<double>(v)), expected) << code;
    ASSERT_EQ(f16_bits(v), code);
  }
}

TEST(Rounding, EveryBf16WidensExactlyAndReturns) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const float v = bf16_to_f32(static_cast<uint16_t>(code));
    ASSERT_EQ(bits_of(v), code << 16);
    ASSERT_EQ(bf16_bits(v), std::isnan(v) ? code | 0x40u : code);
    if (!std::isnan(v)) {
      ASSERT_EQ(bits_of(round_to_bf16(v)), code << 16);
    }
  }
}

void expect_nearest_e4m3(float x) {
  const uint32_t sign = std::signbit(x) ? 0x80u : 0u;
  const uint32_t expected = std::isnan(x)   ? 0x7fu
                            : std::isinf(x) ? 0x7eu
                                            : kE4m3.nearest(std::abs(static_cast<double>(x)));
  ASSERT_EQ(e4m3_bits(x), sign | expected) << std::hexfloat << x;
}

void expect_nearest_e2m1(float x) {
  const uint32_t sign = std::signbit(x) ? 8u : 0u;
  const bool finite = std::isfinite(x);
  const uint32_t expected = finite ? kE2m1.nearest(std::abs(static_cast<double>(x))) : 7u;
  ASSERT_EQ(e2m1_bits(x), sign | expected) << std::hexfloat << x;
}

TEST(Rounding, E4m3IsNearestEvenEverywhere) {
  for (uint32_t code = 0; code < 65536; ++code) {
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e4m3(bf16_to_f32(static_cast<uint16_t>(code))));
  }
  for (float x : boundaries(kE4m3)) {
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e4m3(x));
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e4m3(-x));
  }
  for (float x : random_floats(200000)) ASSERT_NO_FATAL_FAILURE(expect_nearest_e4m3(x));
}

TEST(Rounding, E2m1IsNearestEvenEverywhere) {
  for (uint32_t code = 0; code < 65536; ++code) {
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e2m1(bf16_to_f32(static_cast<uint16_t>(code))));
  }
  for (float x : boundaries(kE2m1)) {
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e2m1(x));
    ASSERT_NO_FATAL_FAILURE(expect_nearest_e2m1(-x));
  }
  for (float x : random_floats(200000)) ASSERT_NO_FATAL_FAILURE(expect_nearest_e2m1(x));
}

TEST(Rounding, E2m1TiesOfTheSpecification) {
  const std::vector<std::pair<float, float>> ties = {{0.25F, 0}, {0.75F, 1}, {1.25F, 1}, {1.75F, 2},
                                                     {2.5F, 2},  {3.5F, 4},  {5.0F, 4}};
  for (const auto& [x, rounded] : ties) EXPECT_EQ(e2m1_to_f32(e2m1_bits(x)), rounded) << x;
}

TEST(Rounding, HalfIsNearestEvenAndOverflowsToInfinity) {
  const auto check = [](float x) {
    const uint32_t sign = std::signbit(x) ? 0x8000u : 0u;
    const double magnitude = std::abs(static_cast<double>(x));
    const uint32_t expected = magnitude >= 65520.0 ? 0x7c00u : kHalf.nearest(magnitude);
    ASSERT_EQ(f16_bits(x), sign | expected) << std::hexfloat << x;
  };
  for (float x : boundaries(kHalf)) ASSERT_NO_FATAL_FAILURE(check(x));
  for (float x : random_floats(200000)) {
    if (std::isnan(x)) continue;
    ASSERT_NO_FATAL_FAILURE(check(-x));
  }
  for (float x : {65504.0F, 65519.0F, 65520.0F, 65536.0F, 1e30F, kInfinity, -kInfinity}) {
    ASSERT_NO_FATAL_FAILURE(check(x));
  }
}

// The rounding decision sees the low half and bit 16; the carry may ripple through the high half.
// So: every high half with the low halves around the tie, and every low half with some high ones.
TEST(Rounding, Bf16IsNearestEvenEverywhere) {
  const double overflow = (kBf16.value(0x7f7f) + std::ldexp(1.0, 128)) / 2;
  const auto check = [&](uint32_t u) {
    const auto x = std::bit_cast<float>(u);
    if (std::isnan(x)) {
      ASSERT_TRUE(std::isnan(bf16_to_f32(bf16_bits(x)))) << u;
      ASSERT_EQ(bf16_bits(x) >> 15, u >> 31);
      return;
    }
    const double magnitude = std::abs(static_cast<double>(x));
    const uint32_t expected = magnitude >= overflow ? 0x7f80u : kBf16.nearest(magnitude);
    ASSERT_EQ(bf16_bits(x), (u >> 31) << 15 | expected) << u;
  };
  for (uint32_t high = 0; high < 65536; ++high) {
    for (uint32_t low : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      ASSERT_NO_FATAL_FAILURE(check(high << 16 | low));
    }
  }
  for (uint32_t high :
       {0u, 1u, 0x7fu, 0x80u, 0x3f7fu, 0x3f80u, 0x7f7eu, 0x7f7fu, 0x7f80u, 0xbf81u}) {
    for (uint32_t low = 0; low < 65536; ++low) ASSERT_NO_FATAL_FAILURE(check(high << 16 | low));
  }
}

TEST(Rounding, E8m0IsAPowerOfTwo) {
  for (int byte = 0; byte < 255; ++byte) {
    EXPECT_EQ(e8m0_to_f32(static_cast<uint8_t>(byte)), std::ldexp(1.0, byte - 127)) << byte;
  }
  EXPECT_TRUE(std::isnan(e8m0_to_f32(255)));
}

TEST(Rounding, E8m0CeilIsTheExactCeilingOfLog2) {
  for (uint32_t exponent = 1; exponent < 254; ++exponent) {
    for (uint32_t mantissa : {0u, 1u, 0x400000u, 0x7fffffu}) {
      const auto x = std::bit_cast<float>(exponent << 23 | mantissa);
      int power = 0;
      const double fraction = std::frexp(static_cast<double>(x), &power);  // in [0.5, 1)
      const int ceiling = fraction == 0.5 ? power - 1 : power;
      EXPECT_EQ(e8m0_ceil_bits(x), ceiling + 127) << std::hexfloat << x;
    }
  }
  EXPECT_EQ(e8m0_ceil_bits(std::numeric_limits<float>::denorm_min()), 1);
  EXPECT_EQ(e8m0_ceil_bits(0x1p-127F), 1);
}

}  // namespace
}  // namespace lethe
