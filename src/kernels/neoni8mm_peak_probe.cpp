#include <arm_neon.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 16;  // independent sums: more than the instruction's latency needs

double neoni8mm_int8_ops(int64_t rounds) noexcept {
  int32x4_t sums[kSums];
  int8x16_t codes = vdupq_n_s8(3);
  const int8x16_t other = vdupq_n_s8(5);
#pragma GCC unroll 16
  for (auto& sum : sums) sum = vdupq_n_s32(0);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      asm volatile("" : "+w"(codes));  // a new value, as far as the compiler knows
      sum = vmmlaq_s32(sum, codes, other);
    }
  }
#pragma GCC unroll 16
  for (auto& sum : sums) asm volatile("" : : "w"(sum));
  return 2.0 * 32 * kSums * static_cast<double>(rounds);
}

}  // namespace

void install_neoni8mm_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = neoni8mm_int8_ops;
}

}  // namespace lethe::kernels
