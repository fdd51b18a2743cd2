#include <immintrin.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 12;  // independent sums: more than the instruction's latency needs

double avx512bf16_flops(int64_t rounds) noexcept {
  __m512 sums[kSums];
  __m512i codes = _mm512_set1_epi16(0x3f00);
  const __m512i other = _mm512_set1_epi16(0x3e80);
  for (int s = 0; s < kSums; ++s) sums[s] = _mm512_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(codes));  // a new value, as far as the compiler knows
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      sums[s] = _mm512_dpbf16_ps(sums[s], reinterpret_cast<__m512bh>(codes),
                                 reinterpret_cast<__m512bh>(other));
    }
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "v"(sums[s]));
  return 2.0 * 32 * kSums * static_cast<double>(rounds);
}

}  // namespace

void install_avx512bf16_peak_probe(PeakProbe& probe) noexcept {
  probe.bf16_flops = avx512bf16_flops;
}

}  // namespace lethe::kernels
