#include "quant/k_quants.h"

#include "quant/codec.h"
#include "tensor/rounding.h"

// ggml's K-quants: 256 elements per block, two-level scales. In Q2_K, Q3_K and Q6_K an element is
// 128 n + 32 j + l: the four j of one half share bytes, each taking its own bits of them; scales
// belong to runs of 16. Source: spec/formats.md section 5.

namespace lethe::quant {

namespace {

float half_at(const uint8_t* p) {
  return f16_to_f32(load_unaligned<uint16_t>(p));
}

float as_float(int code) {
  return static_cast<float>(code);
}

// Scale k (0..15) of Q3_K: low nibbles in bytes 0..7, two high bits in bytes 8..11, bias 32.
int q3_k_scale(const uint8_t* packed, int k) {
  const int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
  const int high = (packed[8 + k % 4] >> (2 * (k / 4))) & 3;
  return (low | high << 4) - 32;
}

}  // namespace

void decode_q2_k(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 84, out += 256) {
    const float d = half_at(p + 80);
    const float dmin = half_at(p + 82);
    for (int k = 0; k < 16; ++k) {  // runs of 16; k = 8 n + 2 j + l / 16
      const uint8_t* q = p + 16 + 32 * (k / 8) + 16 * (k % 2);
      const int shift = 2 * (k / 2 % 4);
      const float scale = d * as_float(p[k] & 15);
      const float min = dmin * as_float(p[k] >> 4);
      for (int i = 0; i < 16; ++i) out[16 * k + i] = scale * as_float((q[i] >> shift) & 3) - min;
    }
  }
}

void decode_q3_k(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 110, out += 256) {
    const float d = half_at(p + 108);
    for (int k = 0; k < 16; ++k) {
      const uint8_t* q = p + 32 + 32 * (k / 8) + 16 * (k % 2);
      const uint8_t* high = p + 16 * (k % 2);
      const int shift = 2 * (k / 2 % 4);
      const float scale = d * as_float(q3_k_scale(p + 96, k));
      for (int i = 0; i < 16; ++i) {
        const int offset = ((high[i] >> (k / 2)) & 1) != 0 ? 0 : 4;
        out[16 * k + i] = scale * as_float(((q[i] >> shift) & 3) - offset);
      }
    }
  }
}

void decode_q4_k(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 144, out += 256) {
    const float d = half_at(p);
    const float dmin = half_at(p + 2);
    for (int g = 0; g < 8; ++g) {
      const ScaleMin sm = scale_min_of(p + 4, g);
      const float scale = d * as_float(sm.scale);
      const float min = dmin * as_float(sm.min);
      const uint8_t* q = p + 16 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i) out[32 * g + i] = scale * as_float((q[i] >> shift) & 15) - min;
    }
  }
}

void decode_q5_k(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 176, out += 256) {
    const float d = half_at(p);
    const float dmin = half_at(p + 2);
    for (int g = 0; g < 8; ++g) {
      const ScaleMin sm = scale_min_of(p + 4, g);
      const float scale = d * as_float(sm.scale);
      const float min = dmin * as_float(sm.min);
      const uint8_t* high = p + 16;
      const uint8_t* q = p + 48 + 32 * (g / 2);
      const int shift = 4 * (g % 2);
      for (int i = 0; i < 32; ++i) {
        const int code = ((q[i] >> shift) & 15) | ((high[i] >> g) & 1) << 4;
        out[32 * g + i] = scale * as_float(code) - min;
      }
    }
  }
}

void decode_q6_k(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 210, out += 256) {
    const float d = half_at(p + 208);
    for (int k = 0; k < 16; ++k) {
      const int j = k / 2 % 4;
      const uint8_t* low = p + 64 * (k / 8) + 32 * (j % 2) + 16 * (k % 2);
      const uint8_t* high = p + 128 + 32 * (k / 8) + 16 * (k % 2);
      const float scale = d * as_float(static_cast<int8_t>(p[192 + k]));
      for (int i = 0; i < 16; ++i) {
        const int code = ((low[i] >> (4 * (j / 2))) & 15) | ((high[i] >> (2 * j)) & 3) << 4;
        out[16 * k + i] = scale * as_float(code - 32);
      }
    }
  }
}

}  // namespace lethe::quant
