#include <immintrin.h>

#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

constexpr int kSums = 8;  // independent sums: more than the instructions' latencies need

double avx2_int8_ops(int64_t rounds) noexcept {
  __m256i sums[kSums];
  __m256i codes = _mm256_set1_epi8(3);
  const __m256i other = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int s = 0; s < kSums; ++s) sums[s] = _mm256_setzero_si256();
  for (int64_t r = 0; r < rounds; ++r) {
    for (int s = 0; s < kSums; ++s) {
      asm volatile("" : "+x"(codes));  // a new value, as far as the compiler knows
      const __m256i pairs = _mm256_maddubs_epi16(codes, other);
      sums[s] = _mm256_add_epi32(sums[s], _mm256_madd_epi16(pairs, ones));
    }
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "x"(sums[s]));
  return 2.0 * 32 * kSums * static_cast<double>(rounds);
}

double avx2_bf16_flops(int64_t rounds) noexcept {
  __m256 sums[kSums];
  __m256 wide = _mm256_set1_ps(0.5f);
  const __m256 other = _mm256_set1_ps(0.25f);
  for (int s = 0; s < kSums; ++s) sums[s] = _mm256_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
    for (int s = 0; s < kSums; ++s) {
      asm volatile("" : "+x"(wide));
      sums[s] = _mm256_fmadd_ps(wide, other, sums[s]);
    }
  }
  for (int s = 0; s < kSums; ++s) asm volatile("" : : "x"(sums[s]));
  return 2.0 * 8 * kSums * static_cast<double>(rounds);
}

uint64_t avx2_read(const std::byte* memory, int64_t lines, int64_t ahead) noexcept {
  constexpr int kVectors = 8;
  __m256i sums[kVectors];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  for (int64_t i = 0; i + kVectors / 2 <= lines; i += kVectors / 2, memory += 32 * kVectors) {
#pragma GCC unroll 8
    for (int k = 0; k < kVectors; ++k) {
      if (k % 2 == 0) __builtin_prefetch(memory + 32 * k + ahead);
      sums[k] = _mm256_add_epi64(
          sums[k], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(memory + 32 * k)));
    }
  }
  for (int k = 1; k < kVectors; ++k) sums[0] = _mm256_add_epi64(sums[0], sums[k]);
  uint64_t words[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), sums[0]);
  return words[0] + words[1] + words[2] + words[3];
}

}  // namespace

void install_avx2_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = avx2_int8_ops;
  probe.bf16_flops = avx2_bf16_flops;
  probe.read = avx2_read;
}

}  // namespace lethe::kernels
