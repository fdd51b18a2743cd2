#pragma once
#include <cstdint>
namespace lethe::kernels {
struct KernelTable {
  float (*dot_f32)(const float*, const float*, int64_t) noexcept;
  double (*dot_f64)(const float*, const float*, int64_t) noexcept;
};
inline float d32(const float* a, const float* b, int64_t n) noexcept { float s = 0; for (int64_t i = 0; i < n; ++i) s += a[i] * b[i]; return s; }
inline double d64(const float* a, const float* b, int64_t n) noexcept { double s = 0; for (int64_t i = 0; i < n; ++i) s += double(a[i]) * double(b[i]); return s; }
inline const KernelTable& kernel_table() { static const KernelTable t{d32, d64}; return t; }
}
