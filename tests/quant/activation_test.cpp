#include "quant/activation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tensor/rounding.h"

namespace lethe::quant {
namespace {

// Values on the bf16 grid, as the quantizers receive them, over many magnitudes.
std::vector<float> random_activations(int64_t n, double log2_spread, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> gaussian;
  std::uniform_real_distribution<double> exponent(-log2_spread, log2_spread);
  std::vector<float> x(static_cast<size_t>(n));
  double scale = 1;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % 16 == 0) scale = std::exp2(exponent(random));
    x[i] = round_to_bf16(static_cast<float>(gaussian(random) * scale));
  }
  return x;
}

// 2^ceil(log2 y), by exact arithmetic on y.
double power_of_two_above(float y) {
  int power = 0;
  const double fraction = std::frexp(static_cast<double>(y), &power);
  return std::ldexp(1.0, fraction == 0.5 ? power - 1 : power);
}

float group_amax(const std::vector<float>& x, size_t begin, size_t end, float floor) {
  float amax = floor;
  for (size_t i = begin; i < end; ++i) amax = std::max(amax, std::abs(x[i]));
  return amax;
}

TEST(QuantizeFp8, FollowsTheDefinition) {
  for (int64_t group : {32, 64, 128}) {
    const int64_t n = 4 * group + 7;  // the last group is partial
    const std::vector<float> x = random_activations(n, 30, static_cast<uint32_t>(group));
    std::vector<uint8_t> codes(x.size());
    std::vector<uint8_t> scales(5);
    quantize_fp8(x.data(), n, group, codes.data(), scales.data());
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t g = i / static_cast<size_t>(group);
      const size_t begin = g * static_cast<size_t>(group);
      const size_t end = std::min(begin + static_cast<size_t>(group), x.size());
      const float amax = group_amax(x, begin, end, 1e-4F);
      const double scale = power_of_two_above(amax * (1.0F / 448.0F));
      ASSERT_EQ(e8m0_to_f32(scales[g]), scale);
      ASSERT_EQ(codes[i], e4m3_bits(static_cast<float>(x[i] / scale))) << i;
    }
  }
}

TEST(QuantizeFp4, FollowsTheDefinition) {
  const int64_t n = 32 * 9;
  const std::vector<float> x = random_activations(n, 100, 7);
  std::vector<uint8_t> codes(x.size() / 2);
  std::vector<uint8_t> scales(x.size() / 32);
  quantize_fp4(x.data(), n, codes.data(), scales.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t begin = i / 32 * 32;
    const float amax = group_amax(x, begin, begin + 32, 6.0F * 0x1p-126F);
    const double scale = power_of_two_above(amax * (1.0F / 6.0F));
    ASSERT_EQ(e8m0_to_f32(scales[i / 32]), scale);
    const unsigned code = i % 2 == 0 ? codes[i / 2] & 15u : codes[i / 2] >> 4;
    ASSERT_EQ(code, e2m1_bits(static_cast<float>(x[i] / scale))) << i;
  }
}

TEST(QuantizeFp4E4m3, FollowsTheDefinition) {
  const int64_t n = 16 * 11;
  const std::vector<float> x = random_activations(n, 9, 8);
  std::vector<uint8_t> codes(x.size() / 2);
  std::vector<uint8_t> scales(x.size() / 16);
  quantize_fp4_e4m3(x.data(), n, codes.data(), scales.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t begin = i / 16 * 16;
    const float amax = group_amax(x, begin, begin + 16, 6.0F * 0x1p-9F);
    ASSERT_EQ(scales[i / 16], e4m3_bits(amax / 6.0F));
    ASSERT_NE(scales[i / 16], 0);
    const unsigned code = i % 2 == 0 ? codes[i / 2] & 15u : codes[i / 2] >> 4;
    ASSERT_EQ(code, e2m1_bits(x[i] / e4m3_to_f32(scales[i / 16]))) << i;
  }
}

TEST(FakeQuantize, IsQuantizeThenDequantizeAndExactInBf16) {
  const int64_t n = 256;
  const std::vector<float> x = random_activations(n, 20, 9);
  std::vector<uint8_t> codes(x.size());
  std::vector<uint8_t> scales(x.size() / 16);
  std::vector<float> decoded(x.size());

  std::vector<float> fp8 = x;
  fake_quantize_fp8(fp8.data(), n, 64);
  quantize_fp8(x.data(), n, 64, codes.data(), scales.data());
  dequantize_fp8(codes.data(), scales.data(), n, 64, decoded.data());
  EXPECT_EQ(fp8, decoded);

  std::vector<float> fp4 = x;
  fake_quantize_fp4(fp4.data(), n);
  quantize_fp4(x.data(), n, codes.data(), scales.data());
  dequantize_fp4(codes.data(), scales.data(), n, decoded.data());
  EXPECT_EQ(fp4, decoded);

  for (float v : fp8) EXPECT_EQ(round_to_bf16(v), v);
  for (float v : fp4) EXPECT_EQ(round_to_bf16(v), v);
}

// A second pass over decoded values must change nothing: a cache may hold either form.
TEST(FakeQuantize, IsIdempotent) {
  std::vector<float> once = random_activations(512, 20, 10);
  fake_quantize_fp8(once.data(), 512, 64);
  std::vector<float> twice = once;
  fake_quantize_fp8(twice.data(), 512, 64);
  EXPECT_EQ(once, twice);
}

TEST(Quantizers, ZerosStayZero) {
  const std::vector<float> x(64, 0.0F);
  std::vector<float> fp8 = x;
  std::vector<float> fp4 = x;
  fake_quantize_fp8(fp8.data(), 64, 32);
  fake_quantize_fp4(fp4.data(), 64);
  EXPECT_EQ(fp8, x);
  EXPECT_EQ(fp4, x);
  std::vector<int8_t> codes(64, 1);
  std::vector<float> scales(2, 1.0F);
  quantize_int8(x.data(), 64, codes.data(), scales.data());
  EXPECT_EQ(codes, std::vector<int8_t>(64, 0));
  EXPECT_EQ(scales, std::vector<float>(2, 0.0F));
}

TEST(Quantizers, NonFiniteInputPoisonsItsGroupAndNoOther) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                    -std::numeric_limits<float>::infinity()}) {
    std::vector<float> x(64, 1.0F);
    x[37] = bad;
    std::vector<uint8_t> codes(64);
    std::vector<uint8_t> scales(4);
    std::vector<float> fp8(64);
    std::vector<float> fp4(64);
    std::vector<float> kv(64);
    quantize_fp8(x.data(), 64, 32, codes.data(), scales.data());
    dequantize_fp8(codes.data(), scales.data(), 64, 32, fp8.data());
    quantize_fp4(x.data(), 64, codes.data(), scales.data());
    dequantize_fp4(codes.data(), scales.data(), 64, fp4.data());
    quantize_fp4_e4m3(x.data(), 64, codes.data(), scales.data());
    dequantize_fp4_e4m3(codes.data(), scales.data(), 64, kv.data());
    std::vector<int8_t> int8_codes(64);
    std::vector<float> int8_scales(2);
    quantize_int8(x.data(), 64, int8_codes.data(), int8_scales.data());
    EXPECT_TRUE(std::isnan(int8_scales[1]));
    EXPECT_FALSE(std::isnan(int8_scales[0]));
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(std::isnan(fp8[i]), i >= 32) << i;
      EXPECT_EQ(std::isnan(fp4[i]), i >= 32) << i;
      EXPECT_EQ(std::isnan(kv[i]), i >= 32 && i < 48) << i;
    }
  }
}

TEST(QuantizeInt8, IsTheNearestMultipleOfTheScale) {
  const int64_t n = 32 * 7 + 5;
  const std::vector<float> x = random_activations(n, 40, 11);
  std::vector<int8_t> codes(x.size());
  std::vector<float> scales(8);
  quantize_int8(x.data(), n, codes.data(), scales.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t begin = i / 32 * 32;
    const float amax = group_amax(x, begin, std::min(begin + 32, x.size()), 0.0F);
    ASSERT_EQ(scales[i / 32], amax / 127.0F);
    ASSERT_EQ(codes[i], std::nearbyint(x[i] / scales[i / 32])) << i;
  }
}

TEST(QuantizeInt8, StaysInRangeWhereTheScaleIsSubnormal) {
  for (float tiny : {0x1p-149F, 0x1p-143F, 190 * 0x1p-149F, 0x1p-126F}) {
    std::vector<float> x(32, -tiny);
    x[3] = tiny;
    std::vector<int8_t> codes(32);
    float scale = -1;
    quantize_int8(x.data(), 32, codes.data(), &scale);
    for (int8_t c : codes) EXPECT_GE(c, -127);
    EXPECT_GE(scale, 0.0F);
    EXPECT_LE(std::abs(static_cast<double>(codes[3]) * scale - tiny), 64 * 0x1p-149) << tiny;
  }
}

}  // namespace
}  // namespace lethe::quant
