#include <immintrin.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 12;  // independent sums: more than the instructions' latencies need

double avx512_int8_ops(int64_t rounds) noexcept {
  __m512i sums[kSums];
  __m512i codes = _mm512_set1_epi8(3);
  const __m512i other = _mm512_set1_epi8(5);
  for (int s = 0; s < kSums; ++s) sums[s] = _mm512_setzero_si512();
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(codes));  // a new value, as far as the compiler knows
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_dpbusd_epi32(sums[s], codes, other);
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "v"(sums[s]));
  return 2.0 * 64 * kSums * static_cast<double>(rounds);
}

double avx512_bf16_flops(int64_t rounds) noexcept {
  __m512 sums[kSums];
  __m512 wide = _mm512_set1_ps(0.5F);
  const __m512 other = _mm512_set1_ps(0.25F);
  for (int s = 0; s < kSums; ++s) sums[s] = _mm512_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile("" : "+v"(wide));
#pragma GCC unroll 12
    for (int s = 0; s < kSums; ++s) sums[s] = _mm512_fmadd_ps(wide, other, sums[s]);
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "v"(sums[s]));
  return 2.0 * 16 * kSums * static_cast<double>(rounds);
}

uint64_t avx512_read(const std::byte* memory, int64_t lines, int64_t ahead) noexcept {
  constexpr int kLines = 4;
  __m512i sums[kLines];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i + kLines <= lines; i += kLines, memory += 64 * kLines) {
#pragma GCC unroll 4
    for (int k = 0; k < kLines; ++k) {
      __builtin_prefetch(memory + 64 * k + ahead);
      sums[k] = _mm512_add_epi64(sums[k], _mm512_loadu_si512(memory + 64 * k));
    }
  }
  const __m512i sum =
      _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3]));
  uint64_t words[8];
  _mm512_storeu_si512(words, sum);
  uint64_t total = 0;
  for (const uint64_t word : words) total += word;
  return total;
}

}  // namespace

void install_avx512_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = avx512_int8_ops;
  probe.bf16_flops = avx512_bf16_flops;
  probe.read = avx512_read;
}

}  // namespace lethe::kernels
