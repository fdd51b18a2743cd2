#include "quant/codec.h"
#include "quant/iq_tables.h"
#include "tensor/rounding.h"

// ggml's 32-element blocks with one half scale. The low nibbles of a block are its first 16
// elements, the high nibbles the other 16. Source: spec/formats.md section 5.

namespace lethe::quant {

namespace {

float half_at(const uint8_t* p) {
  return f16_to_f32(load_unaligned<uint16_t>(p));
}

float as_float(int code) {
  return static_cast<float>(code);
}

// The fifth bit of element i of a Q5 block, in its place above the nibble.
int fifth_bit(uint32_t high_bits, int i) {
  return static_cast<int>((high_bits >> i) & 1u) << 4;
}

}  // namespace

void decode_q8_0(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 34, out += 32) {
    const float d = half_at(p);
    for (int i = 0; i < 32; ++i) out[i] = d * as_float(static_cast<int8_t>(p[2 + i]));
  }
}

void decode_q4_0(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 18, out += 32) {
    const float d = half_at(p);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * as_float((p[2 + i] & 15) - 8);
      out[i + 16] = d * as_float((p[2 + i] >> 4) - 8);
    }
  }
}

void decode_q4_1(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 20, out += 32) {
    const float d = half_at(p);
    const float m = half_at(p + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * as_float(p[4 + i] & 15) + m;
      out[i + 16] = d * as_float(p[4 + i] >> 4) + m;
    }
  }
}

void decode_q5_0(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 22, out += 32) {
    const float d = half_at(p);
    const auto high = load_unaligned<uint32_t>(p + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * as_float(((p[6 + i] & 15) | fifth_bit(high, i)) - 16);
      out[i + 16] = d * as_float(((p[6 + i] >> 4) | fifth_bit(high, i + 16)) - 16);
    }
  }
}

void decode_q5_1(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 24, out += 32) {
    const float d = half_at(p);
    const float m = half_at(p + 2);
    const auto high = load_unaligned<uint32_t>(p + 4);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * as_float((p[8 + i] & 15) | fifth_bit(high, i)) + m;
      out[i + 16] = d * as_float((p[8 + i] >> 4) | fifth_bit(high, i + 16)) + m;
    }
  }
}

void decode_iq4_nl(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 18, out += 32) {
    const float d = half_at(p);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * as_float(kIq4nlValues[p[2 + i] & 15]);
      out[i + 16] = d * as_float(kIq4nlValues[p[2 + i] >> 4]);
    }
  }
}

}  // namespace lethe::quant
