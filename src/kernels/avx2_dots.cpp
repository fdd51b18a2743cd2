#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2.h"
#include "kernels/swiglu_loop.h"

// The plain dots. Sums as in the scalar set: the same lanes, unfused where fusing would show.

namespace lethe::kernels {

namespace {

/// All ones in the first `count` of 8 lanes.
__m256i first_lanes(int64_t count) noexcept {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count < 8 ? count : 8)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
/// The first `count` floats (none if negative) and zeros.
__m256 load_some(const float* p, int64_t count) noexcept {
  return _mm256_maskload_ps(p, first_lanes(count));
}

float dot_f32(const float* a, const float* b, int64_t n) noexcept {
  __m256 first = _mm256_setzero_ps();
  __m256 last = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    first = _mm256_add_ps(first, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    last =
        _mm256_add_ps(last, _mm256_mul_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8)));
  }
  if (i < n) {  // the lanes past the end add +0
    const int64_t rest = n - i;
    first = _mm256_add_ps(first, _mm256_mul_ps(load_some(a + i, rest), load_some(b + i, rest)));
    if (rest > 8) {
      last = _mm256_add_ps(
          last, _mm256_mul_ps(load_some(a + i + 8, rest - 8), load_some(b + i + 8, rest - 8)));
    }
  }
  const __m256 eight = _mm256_add_ps(first, last);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

__m256d to_f64(__m128 v) noexcept {
  return _mm256_cvtps_pd(v);
}

/// Products of f32 are exact in f64, so a fused addition rounds as a plain one does.
double dot_f64(const float* a, const float* b, int64_t n) noexcept {
  __m256d first = _mm256_setzero_pd();
  __m256d last = _mm256_setzero_pd();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    first = _mm256_fmadd_pd(to_f64(_mm_loadu_ps(a + i)), to_f64(_mm_loadu_ps(b + i)), first);
    last = _mm256_fmadd_pd(to_f64(_mm_loadu_ps(a + i + 4)), to_f64(_mm_loadu_ps(b + i + 4)), last);
  }
  if (i < n) {
    const __m256 x = load_some(a + i, n - i);
    const __m256 y = load_some(b + i, n - i);
    first = _mm256_fmadd_pd(to_f64(_mm256_castps256_ps128(x)), to_f64(_mm256_castps256_ps128(y)),
                            first);
    last = _mm256_fmadd_pd(to_f64(_mm256_extractf128_ps(x, 1)), to_f64(_mm256_extractf128_ps(y, 1)),
                           last);
  }
  const __m256d four = _mm256_add_pd(first, last);
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

void fma_row_f32(float* acc, const float* x, float s, int64_t n) noexcept {
  const __m256 factor = _mm256_set1_ps(s);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 product = _mm256_mul_ps(factor, _mm256_loadu_ps(x + i));
    _mm256_storeu_ps(acc + i, _mm256_add_ps(_mm256_loadu_ps(acc + i), product));
  }
  for (; i < n; ++i) acc[i] += s * x[i];
}

/// kVectors * 8 columns of fma_rows_f32, whose sums stay in registers.
template <int kVectors>
[[gnu::always_inline]] inline void fma_columns(float* acc, const float* rows, const float* s,
                                               int64_t count, int64_t n) noexcept {
  __m256 sums[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sums[v] = _mm256_loadu_ps(acc + 8 * v);
  for (int64_t k = 0; k < count; ++k, rows += n) {
    const __m256 factor = _mm256_broadcast_ss(s + k);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const __m256 product = _mm256_mul_ps(factor, _mm256_loadu_ps(rows + 8 * v));
      sums[v] = _mm256_add_ps(sums[v], product);
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(acc + 8 * v, sums[v]);
}

void fma_rows_f32(float* acc, const float* rows, const float* s, int64_t count,
                  int64_t n) noexcept {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) fma_columns<8>(acc + i, rows + i, s, count, n);
  for (; i + 8 <= n; i += 8) fma_columns<1>(acc + i, rows + i, s, count, n);
  for (; i < n; ++i) {
    for (int64_t k = 0; k < count; ++k) acc[i] += s[k] * rows[k * n + i];
  }
}

void fma_row_f64(double* acc, const float* x, double s, int64_t n) noexcept {
  const __m256d factor = _mm256_set1_pd(s);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const __m256d product = _mm256_mul_pd(factor, to_f64(_mm_loadu_ps(x + i)));
    _mm256_storeu_pd(acc + i, _mm256_add_pd(_mm256_loadu_pd(acc + i), product));
  }
  for (; i < n; ++i) acc[i] += s * static_cast<double>(x[i]);
}

}  // namespace

void install_avx2_dots(KernelTable& table) noexcept {
  table.dot_f32 = dot_f32;
  table.dot_f64 = dot_f64;
  table.fma_row_f32 = fma_row_f32;
  table.fma_rows_f32 = fma_rows_f32;
  table.fma_row_f64 = fma_row_f64;
  table.swiglu = SwigluVectors<32>::run;
}

}  // namespace lethe::kernels
