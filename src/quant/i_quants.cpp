#include "quant/codec.h"
#include "quant/iq_tables.h"
#include "tensor/rounding.h"

// ggml's i-quants: 256 elements per block in 8 groups g of 32, each of 4 sub-groups l of 8 elements
// that an index picks from a codebook. Source: spec/formats.md section 5.

namespace lethe::quant {

namespace {

float half_at(const uint8_t* p) {
  return f16_to_f32(load_unaligned<uint16_t>(p));
}
uint16_t u16_at(const uint8_t* p) {
  return load_unaligned<uint16_t>(p);
}
uint32_t u32_at(const uint8_t* p) {
  return load_unaligned<uint32_t>(p);
}

// `count` grid values times `scale`, negated where the sign bit is set.
void signed_run(const uint8_t* grid, int count, uint32_t signs, float scale, float* out) {
  for (int j = 0; j < count; ++j) {
    const float value = scale * static_cast<float>(grid[j]);
    out[j] = ((signs >> j) & 1u) != 0 ? -value : value;
  }
}

// Scale of IQ2_XS and IQ2_S: a nibble per 16 elements.
float iq2_scale(float d, uint8_t scales, int l) {
  const int nibble = (scales >> (4 * (l / 2))) & 15;
  return (d * (0.5F + static_cast<float>(nibble))) * 0.25F;
}

// 8 ternary values of IQ1: (grid + delta) * scale.
void ternary_run(uint32_t index, bool negative_delta, float scale, float* out) {
  const float delta = negative_delta ? -0.125F : 0.125F;
  for (int j = 0; j < 8; ++j) out[j] = scale * (static_cast<float>(kIq1sGrid[index][j]) + delta);
}

// The half of IQ1_M, spread over the top nibbles of its four scale words.
float iq1_m_half(const uint8_t* scales) {
  uint32_t bits = 0;
  for (int k = 0; k < 4; ++k) bits |= static_cast<uint32_t>(u16_at(scales + 2 * k) >> 12) << 4 * k;
  return f16_to_f32(static_cast<uint16_t>(bits));
}

}  // namespace

void decode_iq1_s(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 50, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      const uint32_t high = u16_at(p + 34 + 2 * g);
      const float scale = d * static_cast<float>(2 * ((high >> 12) & 7u) + 1);
      for (int l = 0; l < 4; ++l) {
        const uint32_t index = p[2 + 4 * g + l] | ((high >> (3 * l)) & 7u) << 8;
        ternary_run(index, (high >> 15) != 0, scale, out + 32 * g + 8 * l);
      }
    }
  }
}

void decode_iq1_m(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 56, out += 256) {
    const float d = iq1_m_half(p + 48);
    for (int g = 0; g < 8; ++g) {
      const uint32_t scales = u16_at(p + 48 + 2 * (g / 2));
      for (int l = 0; l < 4; ++l) {
        const uint32_t sub = (scales >> (6 * (g % 2) + 3 * (l / 2))) & 7u;
        const float scale = d * static_cast<float>(2 * sub + 1);
        const uint32_t high = static_cast<uint32_t>(p[32 + 2 * g + l / 2] >> (4 * (l % 2))) & 15u;
        const uint32_t index = p[4 * g + l] | (high & 7u) << 8;
        ternary_run(index, (high & 8u) != 0, scale, out + 32 * g + 8 * l);
      }
    }
  }
}

void decode_iq2_xxs(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 66, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      const uint8_t* index = p + 2 + 8 * g;
      const uint32_t s = u32_at(index + 4);
      const float scale = (d * (0.5F + static_cast<float>(s >> 28))) * 0.25F;
      for (int l = 0; l < 4; ++l) {
        signed_run(kIq2xxsGrid[index[l]], 8, kIq2Signs[(s >> (7 * l)) & 127u], scale,
                   out + 32 * g + 8 * l);
      }
    }
  }
}

void decode_iq2_xs(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 74, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      for (int l = 0; l < 4; ++l) {
        const uint16_t q = u16_at(p + 2 + 8 * g + 2 * l);
        signed_run(kIq2xsGrid[q & 511u], 8, kIq2Signs[q >> 9], iq2_scale(d, p[66 + g], l),
                   out + 32 * g + 8 * l);
      }
    }
  }
}

void decode_iq2_s(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 82, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      for (int l = 0; l < 4; ++l) {
        const uint32_t high = static_cast<uint32_t>(p[66 + g] >> (2 * l)) & 3u;
        signed_run(kIq2sGrid[p[2 + 4 * g + l] | high << 8], 8, p[34 + 4 * g + l],
                   iq2_scale(d, p[74 + g], l), out + 32 * g + 8 * l);
      }
    }
  }
}

void decode_iq3_xxs(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 98, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      const uint32_t s = u32_at(p + 66 + 4 * g);
      const float scale = (d * (0.5F + static_cast<float>(s >> 28))) * 0.5F;
      const uint8_t* index = p + 2 + 8 * g;
      for (int l = 0; l < 4; ++l) {
        const uint32_t signs = kIq2Signs[(s >> (7 * l)) & 127u];
        float* run = out + 32 * g + 8 * l;
        signed_run(kIq3xxsGrid[index[2 * l]], 4, signs, scale, run);
        signed_run(kIq3xxsGrid[index[2 * l + 1]], 4, signs >> 4, scale, run + 4);
      }
    }
  }
}

void decode_iq3_s(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 110, out += 256) {
    const float d = half_at(p);
    for (int g = 0; g < 8; ++g) {
      const int nibble = (p[106 + g / 2] >> (4 * (g % 2))) & 15;
      const float scale = d * static_cast<float>(1 + 2 * nibble);
      for (int k = 0; k < 8; ++k) {  // runs of 4; k = 2 l + t
        const uint32_t ninth = static_cast<uint32_t>(p[66 + g] >> k) & 1u;
        const uint32_t signs = static_cast<uint32_t>(p[74 + 4 * g + k / 2]) >> (4 * (k % 2));
        signed_run(kIq3sGrid[p[2 + 8 * g + k] | ninth << 8], 4, signs, scale, out + 32 * g + 4 * k);
      }
    }
  }
}

void decode_iq4_xs(const std::byte* data, int64_t blocks, float* out) noexcept {
  const auto* p = reinterpret_cast<const uint8_t*>(data);
  for (; blocks > 0; --blocks, p += 136, out += 256) {
    const float d = half_at(p);
    const uint32_t high_bits = u16_at(p + 2);
    for (int g = 0; g < 8; ++g) {
      const int low = (p[4 + g / 2] >> (4 * (g % 2))) & 15;
      const int high = static_cast<int>((high_bits >> (2 * g)) & 3u);
      const float scale = d * static_cast<float>((low | high << 4) - 32);
      const uint8_t* q = p + 8 + 16 * g;
      for (int i = 0; i < 16; ++i) {
        out[32 * g + i] = scale * static_cast<float>(kIq4nlValues[q[i] & 15]);
        out[32 * g + 16 + i] = scale * static_cast<float>(kIq4nlValues[q[i] >> 4]);
      }
    }
  }
}

}  // namespace lethe::quant
