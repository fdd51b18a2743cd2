#include "kernels/lanes.h"
#include "kernels/scalar.h"

namespace lethe::kernels {

namespace {

float dot_f32(const float* a, const float* b, int64_t n) noexcept {
  float lanes[kF32Lanes] = {};
  add_products<kF32Lanes>(lanes, a, n, [b](int64_t i) { return b[i]; });
  return reduce_lanes<kF32Lanes>(lanes);
}

double dot_f64(const float* a, const float* b, int64_t n) noexcept {
  double lanes[kF64Lanes] = {};
  add_products<kF64Lanes>(lanes, a, n, [b](int64_t i) { return static_cast<double>(b[i]); });
  return reduce_lanes<kF64Lanes>(lanes);
}

void fma_row_f32(float* __restrict acc, const float* __restrict x, float s, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) acc[i] += s * x[i];
}

void fma_rows_f32(float* __restrict acc, const float* __restrict rows, const float* s,
                  int64_t count, int64_t n) noexcept {
  for (int64_t k = 0; k < count; ++k) fma_row_f32(acc, rows + k * n, s[k], n);
}

void fma_row_f64(double* __restrict acc, const float* __restrict x, double s, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) acc[i] += s * static_cast<double>(x[i]);
}

}  // namespace

void install_scalar_dots(KernelTable& table) noexcept {
  table.dot_f32 = dot_f32;
  table.dot_f64 = dot_f64;
  table.fma_row_f32 = fma_row_f32;
  table.fma_rows_f32 = fma_rows_f32;
  table.fma_row_f64 = fma_row_f64;
}

}  // namespace lethe::kernels
