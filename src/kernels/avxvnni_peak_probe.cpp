#include <immintrin.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 12;  // independent sums: more than the instruction's latency needs

double avxvnni_int8_ops(int64_t rounds) noexcept {
  __m256i sums[kSums];
  __m256i codes = _mm256_set1_epi8(3);
  const __m256i other = _mm256_set1_epi8(5);
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) sums[s] = _mm256_setzero_si256();
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) {
      asm volatile("" : "+x"(codes));  // a new value, as far as the compiler knows
      sums[s] = _mm256_dpbusd_avx_epi32(sums[s], codes, other);
    }
  }
#pragma GCC unroll 12
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "x"(sums[s]));
  return 2.0 * 32 * kSums * static_cast<double>(rounds);
}

}  // namespace

void install_avxvnni_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = avxvnni_int8_ops;
}

}  // namespace lethe::kernels
