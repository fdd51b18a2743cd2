#include "quant/codec.h"
#include "quant/iq_tables.h"
#include "tensor/rounding.h"

// The ggml blocks of e2m1 codes. Their values are doubled integers times half the scale, so that
// code 8 is +0 and not -0. Source: spec/formats.md sections 4.3 and 5.

namespace lethe::quant {

namespace {

// Unsigned e4m3; both 0 and 0x7f stand for 0, and the top bit is ignored.
float ue4m3_to_f32(uint8_t bits) {
  const auto magnitude = static_cast<uint8_t>(bits & 0x7fu);
  return magnitude == 0x7f ? 0.0F : e4m3_to_f32(magnitude);
}

// `pairs` bytes: low nibbles are the first half of the run, high nibbles the second.
void scale_pairs(const uint8_t* codes, int pairs, float half_scale, float* out) {
  for (int i = 0; i < pairs; ++i) {
    out[i] = static_cast<float>(kMxfp4Values[codes[i] & 15]) * half_scale;
    out[i + pairs] = static_cast<float>(kMxfp4Values[codes[i] >> 4]) * half_scale;
  }
}

}  // namespace

void decode_mxfp4(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 17, out += 32) {
    scale_pairs(p + 1, 16, e8m0_to_f32(p[0]) * 0.5F, out);
  }
}

void decode_nvfp4(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 36, out += 64) {
    for (int s = 0; s < 4; ++s) {
      scale_pairs(p + 4 + 8 * s, 8, ue4m3_to_f32(p[s]) * 0.5F, out + 16 * s);
    }
  }
}

}  // namespace lethe::quant
