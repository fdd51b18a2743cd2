#include "kernels/avx512.h"
#include "kernels/avx512_vectors.h"
#include "kernels/swiglu_loop.h"

// Activations to the formats of row dots, with the bits of the scalar set.

namespace lethe::kernels {

namespace {

/// Lanes 0 .. count - 1 of 16.
LETHE_AVX512_INLINE __mmask16 first_lanes(int64_t count) noexcept {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1);
}

LETHE_AVX512_INLINE __m256i bf16_of(__m512 x) noexcept {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i chosen = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x00400000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16));
}

void to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), bf16_of(_mm512_loadu_ps(x + i)));
  }
  if (i < n) {
    const __mmask16 rest = first_lanes(n - i);
    _mm256_mask_storeu_epi16(out + i, rest, bf16_of(_mm512_maskz_loadu_ps(rest, x + i)));
  }
}

/// Codes of 16 numbers over d.
LETHE_AVX512_INLINE __m512i codes_of(__m512 x, __m512 d) noexcept {
  const __m512 most = _mm512_set1_ps(127.0F);
  const __m512 least = _mm512_set1_ps(-127.0F);
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(_mm512_div_ps(x, d), least), most));
}

void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales,
                   int32_t* sums) noexcept {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  constexpr int kInfinity = 0x7f800000;
  constexpr int64_t kAhead = 512;  // numbers that are asked for before they are read
  for (int64_t begin = 0; begin < n; begin += 32, codes += 32, ++scales, sums += 2) {
    __builtin_prefetch(x + begin + kAhead);
    __builtin_prefetch(x + begin + kAhead + 16);
    const __mmask16 low = first_lanes(n - begin);
    const __mmask16 high = first_lanes(n - begin - 16);
    const __m512 a = _mm512_maskz_loadu_ps(low, x + begin);
    const __m512 b = _mm512_maskz_loadu_ps(high, x + begin + 16);
    // As bit patterns: NaN > infinity > every finite number.
    const int amax_bits = _mm512_reduce_max_epi32(
        _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                         _mm512_and_si512(_mm512_castps_si512(b), magnitude)));
    const bool finite = amax_bits < kInfinity;
    float amax;
    __builtin_memcpy(&amax, &amax_bits, sizeof(amax));
    const float d = amax / 127.0F;
    *scales = finite ? d : __builtin_nanf("");
    __m512i first = _mm512_setzero_si512();
    __m512i second = _mm512_setzero_si512();
    if (finite && d > 0.0F) {
      first = codes_of(a, _mm512_set1_ps(d));
      second = codes_of(b, _mm512_set1_ps(d));
    }
    sums[0] = _mm512_reduce_add_epi32(first);
    sums[1] = _mm512_reduce_add_epi32(second);
    _mm512_mask_cvtepi32_storeu_epi8(codes, low, first);
    _mm512_mask_cvtepi32_storeu_epi8(codes + 16, high, second);
  }
}

}  // namespace

void install_avx512_activations(KernelTable& table) noexcept {
  table.to_bf16 = to_bf16;
  table.quantize_int8 = quantize_int8;
  table.swiglu = SwigluVectors<64>::run;
}

}  // namespace lethe::kernels
