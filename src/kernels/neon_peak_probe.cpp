#include <arm_neon.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 16;  // independent sums: more than the instructions' latencies need

double neon_int8_ops(int64_t rounds) noexcept {
  int32x4_t sums[kSums];
  int8x16_t codes = vdupq_n_s8(3);
  const int8x16_t other = vdupq_n_s8(5);
#pragma GCC unroll 16
  for (auto& sum : sums) sum = vdupq_n_s32(0);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      asm volatile("" : "+w"(codes));  // a new value, as far as the compiler knows
      sum = vdotq_s32(sum, codes, other);
    }
  }
#pragma GCC unroll 16
  for (auto& sum : sums) asm volatile("" : : "w"(sum));
  return 2.0 * 16 * kSums * static_cast<double>(rounds);
}

double neon_bf16_flops(int64_t rounds) noexcept {
  float32x4_t sums[kSums];
  float32x4_t wide = vdupq_n_f32(0.5f);
  const float32x4_t other = vdupq_n_f32(0.25f);
#pragma GCC unroll 16
  for (auto& sum : sums) sum = vdupq_n_f32(0);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      asm volatile("" : "+w"(wide));
      sum = vfmaq_f32(sum, wide, other);
    }
  }
#pragma GCC unroll 16
  for (auto& sum : sums) asm volatile("" : : "w"(sum));
  return 2.0 * 4 * kSums * static_cast<double>(rounds);
}

}  // namespace

void install_neon_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = neon_int8_ops;
  probe.bf16_flops = neon_bf16_flops;
}

}  // namespace lethe::kernels
