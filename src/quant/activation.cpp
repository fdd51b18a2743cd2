#include "quant/activation.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "tensor/rounding.h"

namespace lethe::quant {

namespace {

constexpr int64_t kFp4Group = 32;
constexpr int64_t kFp4KvGroup = 16;
constexpr int64_t kInt8Group = 32;
constexpr uint8_t kE8m0Nan = 255;
constexpr uint8_t kE4m3Nan = 0x7f;

// max|x|; NaN if x holds one. Compared as bit patterns: NaN > infinity > every finite number.
float max_magnitude(const float* x, int64_t n) {
  int32_t max_bits = 0;
  for (int64_t i = 0; i < n; ++i) {
    max_bits = std::max(max_bits, std::bit_cast<int32_t>(x[i]) & 0x7fffffff);
  }
  return std::bit_cast<float>(max_bits);
}

bool is_finite(float x) {
  return (std::bit_cast<uint32_t>(x) & 0x7f800000u) != 0x7f800000u;
}

// P(max(amax, floor) * reciprocal), as an e8m0 byte.
uint8_t power_of_two_scale(float amax, float floor, float reciprocal) {
  if (!is_finite(amax)) return kE8m0Nan;
  return e8m0_ceil_bits(std::max(amax, floor) * reciprocal);
}

uint8_t fp8_scale(const float* x, int64_t n) {
  return power_of_two_scale(max_magnitude(x, n), 1e-4F, 1.0F / 448.0F);
}
uint8_t fp4_scale(const float* x, int64_t n) {
  return power_of_two_scale(max_magnitude(x, n), 6.0F * 0x1p-126F, 1.0F / 6.0F);
}

// 1/s, exact: s is a power of two (and 255 stays NaN).
float e8m0_inverse(uint8_t scale) {
  return e8m0_to_f32(static_cast<uint8_t>(254u - scale));
}

uint8_t nibble(const uint8_t* codes, int64_t i) {
  return static_cast<uint8_t>(i % 2 == 0 ? codes[i / 2] & 15u : codes[i / 2] >> 4);
}

uint8_t pack_pair(uint8_t low, uint8_t high) {
  return static_cast<uint8_t>(low | high << 4);
}

// The e2m1 codes of two values already divided by the scale.
uint8_t pack_e2m1(float even, float odd) {
  return pack_pair(e2m1_bits(even), e2m1_bits(odd));
}

// Calls body(begin, length, index) for every group of a row; the last may be partial.
template <typename Body>
void for_each_group(int64_t n, int64_t group, Body body) {
  LETHE_DCHECK(n >= 0 && group > 0);
  for (int64_t begin = 0, index = 0; begin < n; begin += group, ++index) {
    body(begin, std::min(group, n - begin), index);
  }
}

}  // namespace

void quantize_fp8(const float* x, int64_t n, int64_t group, uint8_t* codes, uint8_t* scales) {
  for_each_group(n, group, [&](int64_t begin, int64_t length, int64_t g) {
    scales[g] = fp8_scale(x + begin, length);
    const float inverse = e8m0_inverse(scales[g]);
    for (int64_t i = begin; i < begin + length; ++i) codes[i] = e4m3_bits(x[i] * inverse);
  });
}

void dequantize_fp8(const uint8_t* codes, const uint8_t* scales, int64_t n, int64_t group,
                    float* x) {
  for_each_group(n, group, [&](int64_t begin, int64_t length, int64_t g) {
    const float scale = e8m0_to_f32(scales[g]);
    for (int64_t i = begin; i < begin + length; ++i) x[i] = e4m3_to_f32(codes[i]) * scale;
  });
}

void fake_quantize_fp8(float* x, int64_t n, int64_t group) {
  for_each_group(n, group, [&](int64_t begin, int64_t length, int64_t) {
    const uint8_t scale_bits = fp8_scale(x + begin, length);
    const float scale = e8m0_to_f32(scale_bits);
    const float inverse = e8m0_inverse(scale_bits);
    for (int64_t i = begin; i < begin + length; ++i) {
      x[i] = e4m3_to_f32(e4m3_bits(x[i] * inverse)) * scale;
    }
  });
}

void quantize_fp4(const float* x, int64_t n, uint8_t* codes, uint8_t* scales) {
  LETHE_DCHECK(n % 2 == 0);
  for_each_group(n, kFp4Group, [&](int64_t begin, int64_t length, int64_t g) {
    scales[g] = fp4_scale(x + begin, length);
    const float inverse = e8m0_inverse(scales[g]);
    for (int64_t i = begin; i < begin + length; i += 2) {
      codes[i / 2] = pack_e2m1(x[i] * inverse, x[i + 1] * inverse);
    }
  });
}

namespace {

/// Squared error of a group in e2m1 at a power-of-two scale.
double fp4_error(const float* x, int64_t length, uint8_t scale_bits) {
  const float scale = e8m0_to_f32(scale_bits);
  const float inverse = e8m0_inverse(scale_bits);
  double error = 0;
  for (int64_t i = 0; i < length; ++i) {
    const float difference = x[i] - e2m1_to_f32(e2m1_bits(x[i] * inverse)) * scale;
    error += static_cast<double>(difference * difference);
  }
  return error;
}

}  // namespace

void quantize_fp4_closest(const float* x, int64_t n, uint8_t* codes, uint8_t* scales) {
  LETHE_DCHECK(n % 2 == 0);
  for_each_group(n, kFp4Group, [&](int64_t begin, int64_t length, int64_t g) {
    const uint8_t ceiling = fp4_scale(x + begin, length);
    const auto below = static_cast<uint8_t>(ceiling - 1);
    const bool lower = ceiling > 1 && ceiling != 255 &&
                       fp4_error(x + begin, length, below) < fp4_error(x + begin, length, ceiling);
    scales[g] = lower ? below : ceiling;
    const float inverse = e8m0_inverse(scales[g]);
    for (int64_t i = begin; i < begin + length; i += 2) {
      codes[i / 2] = pack_e2m1(x[i] * inverse, x[i + 1] * inverse);
    }
  });
}

void dequantize_fp4(const uint8_t* codes, const uint8_t* scales, int64_t n, float* x) {
  for_each_group(n, kFp4Group, [&](int64_t begin, int64_t length, int64_t g) {
    const float scale = e8m0_to_f32(scales[g]);
    for (int64_t i = begin; i < begin + length; ++i) x[i] = e2m1_to_f32(nibble(codes, i)) * scale;
  });
}

void fake_quantize_fp4(float* x, int64_t n) {
  for_each_group(n, kFp4Group, [&](int64_t begin, int64_t length, int64_t) {
    const uint8_t scale_bits = fp4_scale(x + begin, length);
    const float scale = e8m0_to_f32(scale_bits);
    const float inverse = e8m0_inverse(scale_bits);
    for (int64_t i = begin; i < begin + length; ++i) {
      x[i] = e2m1_to_f32(e2m1_bits(x[i] * inverse)) * scale;
    }
  });
}

void quantize_fp4_e4m3(const float* x, int64_t n, uint8_t* codes, uint8_t* scales) {
  LETHE_DCHECK(n % 2 == 0);
  for_each_group(n, kFp4KvGroup, [&](int64_t begin, int64_t length, int64_t g) {
    const float amax = max_magnitude(x + begin, length);
    scales[g] = is_finite(amax) ? e4m3_bits(std::max(amax, 6.0F * 0x1p-9F) / 6.0F) : kE4m3Nan;
    const float scale = e4m3_to_f32(scales[g]);
    for (int64_t i = begin; i < begin + length; i += 2) {
      codes[i / 2] = pack_e2m1(x[i] / scale, x[i + 1] / scale);
    }
  });
}

void dequantize_fp4_e4m3(const uint8_t* codes, const uint8_t* scales, int64_t n, float* x) {
  for_each_group(n, kFp4KvGroup, [&](int64_t begin, int64_t length, int64_t g) {
    const float scale = e4m3_to_f32(scales[g]);
    for (int64_t i = begin; i < begin + length; ++i) x[i] = e2m1_to_f32(nibble(codes, i)) * scale;
  });
}

float quantize_int8_row(const float* x, int64_t n, int8_t* codes) {
  // Adding 1.5 * 2^23 rounds a small number to an integer, nearest even, in the low mantissa bits.
  constexpr float kRounder = 12582912.0F;
  const float amax = max_magnitude(x, n);
  const float d = amax / 127.0F;
  if (!is_finite(amax) || !(d > 0.0F)) {
    std::fill_n(codes, n, int8_t{0});
    return is_finite(amax) ? d : std::numeric_limits<float>::quiet_NaN();
  }
  for (int64_t i = 0; i < n; ++i) {
    // The clamp acts only where d is subnormal and so rounded coarsely.
    const float q = std::clamp(x[i] / d, -127.0F, 127.0F) + kRounder;
    codes[i] = static_cast<int8_t>(std::bit_cast<int32_t>(q) - std::bit_cast<int32_t>(kRounder));
  }
  return d;
}

void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales) {
  for_each_group(n, kInt8Group, [&](int64_t begin, int64_t length, int64_t g) {
    scales[g] = quantize_int8_row(x + begin, length, codes + begin);
  });
}

}  // namespace lethe::quant
