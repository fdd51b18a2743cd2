#include "kernels/neon.h"
#include "kernels/neon_vectors.h"

// The plain dots. Sums as in the scalar set: the same lanes, unfused where fusing would show.

namespace lethe::kernels {

namespace {

/// The first `count` < kSize numbers, then zeros, which add +0 to their lanes.
template <int kSize>
struct Padded {
  float data[kSize] = {};
  Padded(const float* p, int64_t count) noexcept {
    __builtin_memcpy(data, p, static_cast<size_t>(count) * sizeof(float));
  }
};

LETHE_NEON_INLINE void add_sixteen(float32x4_t* sums, const float* a, const float* b) noexcept {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    sums[v] = add_product(sums[v], vld1q_f32(a + 4 * v), vld1q_f32(b + 4 * v));
  }
}

float dot_f32(const float* a, const float* b, int64_t n) noexcept {
  float32x4_t sums[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) add_sixteen(sums, a + i, b + i);
  if (i < n) add_sixteen(sums, Padded<16>(a + i, n - i).data, Padded<16>(b + i, n - i).data);
  return sum_lanes(sums);
}

/// Products of f32 are exact in f64, so a fused addition rounds as a plain one does.
LETHE_NEON_INLINE void add_eight(float64x2_t* sums, const float* a, const float* b) noexcept {
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const float32x4_t x = vld1q_f32(a + 4 * v);
    const float32x4_t y = vld1q_f32(b + 4 * v);
    sums[2 * v] =
        vfmaq_f64(sums[2 * v], vcvt_f64_f32(vget_low_f32(x)), vcvt_f64_f32(vget_low_f32(y)));
    sums[2 * v + 1] = vfmaq_f64(sums[2 * v + 1], vcvt_high_f64_f32(x), vcvt_high_f64_f32(y));
  }
}

double dot_f64(const float* a, const float* b, int64_t n) noexcept {
  float64x2_t sums[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) add_eight(sums, a + i, b + i);
  if (i < n) add_eight(sums, Padded<8>(a + i, n - i).data, Padded<8>(b + i, n - i).data);
  return vpaddd_f64(vaddq_f64(vaddq_f64(sums[0], sums[2]), vaddq_f64(sums[1], sums[3])));
}

void fma_row_f32(float* acc, const float* x, float s, int64_t n) noexcept {
  const float32x4_t factor = vdupq_n_f32(s);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    vst1q_f32(acc + i, add_product(vld1q_f32(acc + i), factor, vld1q_f32(x + i)));
  }
  for (; i < n; ++i) acc[i] += s * x[i];
}

/// kVectors * 4 columns of fma_rows_f32, whose sums stay in registers.
template <int kVectors>
LETHE_NEON_INLINE void fma_columns(float* acc, const float* rows, const float* s, int64_t count,
                                   int64_t n) noexcept {
  float32x4_t sums[kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) sums[v] = vld1q_f32(acc + 4 * v);
  for (int64_t k = 0; k < count; ++k, rows += n) {
    const float32x4_t factor = vdupq_n_f32(s[k]);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      sums[v] = add_product(sums[v], factor, vld1q_f32(rows + 4 * v));
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) vst1q_f32(acc + 4 * v, sums[v]);
}

void fma_rows_f32(float* acc, const float* rows, const float* s, int64_t count,
                  int64_t n) noexcept {
  int64_t i = 0;
  for (; i + 64 <= n; i += 64) fma_columns<16>(acc + i, rows + i, s, count, n);
  for (; i + 4 <= n; i += 4) fma_columns<1>(acc + i, rows + i, s, count, n);
  for (; i < n; ++i) {
    for (int64_t k = 0; k < count; ++k) acc[i] += s[k] * rows[k * n + i];
  }
}

void fma_row_f64(double* acc, const float* x, double s, int64_t n) noexcept {
  const float64x2_t factor = vdupq_n_f64(s);
  int64_t i = 0;
  for (; i + 2 <= n; i += 2) {
    const float64x2_t product = vmulq_f64(factor, vcvt_f64_f32(vld1_f32(x + i)));
    vst1q_f64(acc + i, vaddq_f64(vld1q_f64(acc + i), product));
  }
  for (; i < n; ++i) acc[i] += s * static_cast<double>(x[i]);
}

}  // namespace

void install_neon_dots(KernelTable& table) noexcept {
  table.dot_f32 = dot_f32;
  table.dot_f64 = dot_f64;
  table.fma_row_f32 = fma_row_f32;
  table.fma_rows_f32 = fma_rows_f32;
  table.fma_row_f64 = fma_row_f64;
}

}  // namespace lethe::kernels
