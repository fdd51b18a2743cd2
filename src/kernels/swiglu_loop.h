#pragma once

#include <cstdint>

// silu(gate) * up for vectors of any width, in the compilers' own vectors: the sets that include it
// give the same bits, as every step is one rounded operation of f32. In an unnamed namespace, for
// it is compiled with the flags of each set.

namespace lethe::kernels {
namespace {

template <int kBytes>
struct SwigluVectors {
  using F32 __attribute__((vector_size(kBytes))) = float;
  using I32 __attribute__((vector_size(kBytes))) = int32_t;
  static constexpr int kLanes = kBytes / 4;

  [[gnu::always_inline]] static inline F32 load(const float* p) noexcept {
    F32 v;
    __builtin_memcpy(&v, p, sizeof(v));
    return v;
  }

  /// e^x to 2 units in the last place, for x within -87 and 88, to which it is held; NaN is 88's.
  [[gnu::always_inline]] static inline F32 exp(F32 x) noexcept {
    constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: what is added to it is rounded to a whole
    constexpr float kLog2E = 1.44269504F;
    constexpr float kLn2High = 0.693359375F;  // few bits, so that whole multiples are exact
    constexpr float kLn2Low = -2.12194440e-4F;
    x = x < 88.0F ? x : F32{} + 88.0F;
    x = x > -87.0F ? x : F32{} - 87.0F;
    const F32 shifted = x * kLog2E + kRound;
    const F32 n = shifted - kRound;
    const F32 r = (x - n * kLn2High) - n * kLn2Low;
    // e^r = 1 + r + r^2 * p(r) for |r| <= ln 2 / 2; the constants are those of Cephes' expf.
    F32 p = F32{} + 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    const F32 y = p * (r * r) + r + 1.0F;
    const I32 exponent = (I32)shifted << 23;  // n's low bits are those of `shifted`
    return (F32)((I32)y + exponent);
  }

  [[gnu::always_inline]] static inline F32 gated(F32 gate, F32 up, float limit,
                                                 float scale) noexcept {
    if (limit > 0) {
      gate = gate > limit ? F32{} + limit : gate;
      up = up < -limit ? F32{} - limit : up;
      up = up > limit ? F32{} + limit : up;
    }
    return gate / (1.0F + exp(-gate)) * up * scale;
  }

  static void run(float* gate, const float* up, int64_t n, float limit, float scale) noexcept {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const F32 out = gated(load(gate + i), load(up + i), limit, scale);
      __builtin_memcpy(gate + i, &out, sizeof(out));
    }
    if (i == n) return;
    F32 a{};
    F32 b{};
    __builtin_memcpy(&a, gate + i, sizeof(float) * static_cast<size_t>(n - i));
    __builtin_memcpy(&b, up + i, sizeof(float) * static_cast<size_t>(n - i));
    const F32 out = gated(a, b, limit, scale);
    __builtin_memcpy(gate + i, &out, sizeof(float) * static_cast<size_t>(n - i));
  }
};

}  // namespace
}  // namespace lethe::kernels
