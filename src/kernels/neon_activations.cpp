#include "kernels/neon.h"
#include "kernels/neon_vectors.h"

// Activations to the formats of row dots, with the bits of the scalar set.

namespace lethe::kernels {

namespace {

constexpr int64_t kGroup = 32;
constexpr int kVectors = 8;  // of a group

LETHE_NEON_INLINE uint16x4_t bf16_of(float32x4_t x) noexcept {
  const uint32x4_t bits = vreinterpretq_u32_f32(x);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x00400000));
  return vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), rounded, quiet), 16);
}

void to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    vst1q_u16(out + i, vcombine_u16(bf16_of(vld1q_f32(x + i)), bf16_of(vld1q_f32(x + i + 4))));
  }
  for (; i < n; ++i) out[i] = vget_lane_u16(bf16_of(vdupq_n_f32(x[i])), 0);
}

/// Codes of 16 numbers over d.
LETHE_NEON_INLINE int8x16_t codes_of(const float32x4_t* x, float32x4_t d) noexcept {
  int32x4_t codes[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const float32x4_t ratio = vdivq_f32(x[v], d);
    codes[v] =
        vcvtnq_s32_f32(vminq_f32(vmaxq_f32(ratio, vdupq_n_f32(-127.0F)), vdupq_n_f32(127.0F)));
  }
  const int16x8_t low = vcombine_s16(vmovn_s32(codes[0]), vmovn_s32(codes[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(codes[2]), vmovn_s32(codes[3]));
  return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

/// One group: its scale, and codes [32].
LETHE_NEON_INLINE float quantize_group(const float* x, int8_t* codes, int32_t* sums) noexcept {
  constexpr uint32_t kInfinity = 0x7f800000;
  float32x4_t v[kVectors];
  uint32x4_t largest = vdupq_n_u32(0);
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) {
    v[i] = vld1q_f32(x + 4 * i);
    // As bit patterns: NaN > infinity > every finite number.
    largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(v[i])));
  }
  const uint32_t amax = vmaxvq_u32(largest);
  const bool finite = amax < kInfinity;
  const float d = load<float>(&amax) / 127.0F;
  int8x16_t first = vdupq_n_s8(0);
  int8x16_t second = vdupq_n_s8(0);
  if (finite && d > 0.0F) {
    first = codes_of(v, vdupq_n_f32(d));
    second = codes_of(v + 4, vdupq_n_f32(d));
  }
  vst1q_s8(codes, first);
  vst1q_s8(codes + 16, second);
  sums[0] = vaddlvq_s8(first);
  sums[1] = vaddlvq_s8(second);
  return finite ? d : __builtin_nanf("");
}

void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales,
                   int32_t* sums) noexcept {
  const int64_t whole = n / kGroup;
  for (int64_t g = 0; g < whole; ++g) {
    scales[g] = quantize_group(x + kGroup * g, codes + kGroup * g, sums + 2 * g);
  }
  if (const int64_t rest = n - kGroup * whole; rest != 0) {
    float padded[kGroup] = {};
    int8_t all[kGroup];
    __builtin_memcpy(padded, x + kGroup * whole, static_cast<size_t>(rest) * sizeof(float));
    scales[whole] = quantize_group(padded, all, sums + 2 * whole);
    __builtin_memcpy(codes + kGroup * whole, all, static_cast<size_t>(rest));
  }
}

}  // namespace

void install_neon_activations(KernelTable& table) noexcept {
  table.to_bf16 = to_bf16;
  table.quantize_int8 = quantize_int8;
}

}  // namespace lethe::kernels
