#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2.h"

// Activations to the formats of row dots, with the bits of the scalar set.

namespace lethe::kernels {

namespace {

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

/// 8 numbers as bf16, in the low halves of dwords.
LETHE_AVX2_INLINE __m256i bf16_of(const float* x) noexcept {
  const __m256 v = _mm256_loadu_ps(x);
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
/// 16 of them.
LETHE_AVX2_INLINE __m256i sixteen_bf16(const float* x) noexcept {
  const __m256i packed = _mm256_packus_epi32(bf16_of(x), bf16_of(x + 8));
  return _mm256_permute4x64_epi64(packed, 0xD8);
}

void to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), sixteen_bf16(x + i));
  }
  if (i < n) {
    const auto rest = static_cast<size_t>(n - i);
    alignas(32) float some[16] = {};
    alignas(32) uint16_t bits[16];
    __builtin_memcpy(some, x + i, rest * sizeof(*x));
    _mm256_store_si256(reinterpret_cast<__m256i*>(bits), sixteen_bf16(some));
    __builtin_memcpy(out + i, bits, rest * sizeof(*out));
  }
}

/// Codes of 8 numbers over d.
LETHE_AVX2_INLINE __m256i codes_of(__m256 x, __m256 d) noexcept {
  const __m256 most = _mm256_set1_ps(127.0F);
  const __m256 least = _mm256_set1_ps(-127.0F);
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(_mm256_div_ps(x, d), least), most));
}
LETHE_AVX2_INLINE int32_t largest(__m256i v) noexcept {
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}
LETHE_AVX2_INLINE int32_t sum_of(__m256i v) noexcept {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xB1)));
}

/// 32 numbers.
LETHE_AVX2_INLINE void quantize_group(const float* x, int8_t* codes, float* scale,
                                      int32_t* sums) noexcept {
  constexpr int kInfinity = 0x7f800000;
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  __m256 v[4];
  __m256i most = _mm256_setzero_si256();
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    // As bit patterns: NaN > infinity > every finite number.
    most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[i]), magnitude));
  }
  const int32_t amax_bits = largest(most);
  const bool finite = amax_bits < kInfinity;
  float amax;
  __builtin_memcpy(&amax, &amax_bits, sizeof(amax));
  const float d = amax / 127.0F;
  *scale = finite ? d : __builtin_nanf("");
  __m256i c[4] = {};
  if (finite && d > 0.0F) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) c[i] = codes_of(v[i], _mm256_set1_ps(d));
  }
  sums[0] = sum_of(_mm256_add_epi32(c[0], c[1]));
  sums[1] = sum_of(_mm256_add_epi32(c[2], c[3]));
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(c[0], c[1]), _mm256_packs_epi32(c[2], c[3]));
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes),
                      _mm256_permutevar8x32_epi32(bytes, in_order));
}

void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales,
                   int32_t* sums) noexcept {
  constexpr int64_t kAhead = 256;  // numbers that are asked for before they are read
  int64_t i = 0;
  for (; i + 32 <= n; i += 32, ++scales, sums += 2) {
    __builtin_prefetch(x + i + kAhead);
    __builtin_prefetch(x + i + kAhead + 16);
    quantize_group(x + i, codes + i, scales, sums);
  }
  if (i < n) {
    const auto rest = static_cast<size_t>(n - i);
    alignas(32) float some[32] = {};
    alignas(32) int8_t group[32];
    __builtin_memcpy(some, x + i, rest * sizeof(*x));
    quantize_group(some, group, scales, sums);
    __builtin_memcpy(codes + i, group, rest);
  }
}

}  // namespace

void install_avx2_activations(KernelTable& table) noexcept {
  table.to_bf16 = to_bf16;
  table.quantize_int8 = quantize_int8;
}

}  // namespace lethe::kernels
