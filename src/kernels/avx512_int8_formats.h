#pragma once

#include "kernels/avx2_codebook_formats.h"
#include "kernels/avx512_vectors.h"

// Encodings with Int8 activations as AVX-512 vectors, 16 groups of 32 elements (a wide step) at a
// time. Weight codes become unsigned bytes u = code + kBias, which is what vpdpbusd multiplies with
// signed ones; the sum of code products is that of u less kBias times the sum of activation codes.
//
// A format has
//   kStepBytes, kWhole, kHalfScales, kMins, kOwnScales as in avx2_block_formats.h; a step of 8
//   kBias
//   order(x)             brings 8 vectors of activation codes into the order of its products
//   sums(s, x, out)      sums of u times x: lane g of out[0] is of group g; with kHalfScales of its
//                        first half, and out[1] of the second
//   scales(s, out, mins) lane g belongs to group g

namespace lethe::kernels {
namespace {

constexpr int kGroup = 32;
constexpr int kWideGroups = 16;
constexpr int kWideStep = kGroup * kWideGroups;

/// The bytes of 16 groups of a row, at most the last of which are zeros put there.
struct WideStep {
  const uint8_t* data;
  const uint8_t* scales;  // Fp4Row: e8m0 bytes or f32
  bool scales_f32;
};

/// 8 of them, as avx2_block_formats.h has them: 0 or 1.
template <typename Format>
LETHE_AVX512_INLINE Step half_of(const WideStep& s, int half) noexcept {
  return {s.data + Format::kStepBytes * half,
          Format::kOwnScales ? s.scales + (s.scales_f32 ? 32 : 8) * half : nullptr, s.scales_f32};
}

/// sum_quarters of natural vectors (2 groups each, 4 lanes of 16 elements) to halves of groups.
LETHE_AVX512_INLINE void natural_halves(const __m512i* acc, __m512i* halves) noexcept {
  const __m512i first8 = sum_quarters(acc);  // lane l, dword i: half l % 2 of group 2i + l / 2
  const __m512i second8 = sum_quarters(acc + 4);
  const __m512i first = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 16, 24, 17, 25, 18, 26, 19, 27);
  const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(4));
  halves[0] = _mm512_permutex2var_epi32(first8, first, second8);
  halves[1] = _mm512_permutex2var_epi32(first8, second, second8);
}

/// Any format of the AVX2 set.
template <typename Narrow>
struct Widened {
  static constexpr int kStepBytes = Narrow::kStepBytes;
  static constexpr bool kWhole = Narrow::kWhole;
  static constexpr bool kHalfScales = Narrow::kHalfScales;
  static constexpr bool kMins = Narrow::kMins;
  static constexpr bool kOwnScales = Narrow::kOwnScales;
  static constexpr int kBias = 128;

  LETHE_AVX512_INLINE static void order(__m512i*) noexcept {}

  template <int p>
  LETHE_AVX512_INLINE static __m512i codes(const Step& s) noexcept {
    __m256i a;
    __m256i b;
    Narrow::template pair<p>(s, a, b);
    return _mm512_xor_si512(join512(a, b), bytes512(0x80));
  }
  /// Two groups to a vector, in the order of the row.
  LETHE_AVX512_INLINE static void codes(const Step& s, __m512i* out) noexcept {
    out[0] = codes<0>(s);
    out[1] = codes<1>(s);
    out[2] = codes<2>(s);
    out[3] = codes<3>(s);
  }

  LETHE_AVX512_INLINE static void sums(const WideStep& s, const __m512i* x, __m512i* out) noexcept {
    __m512i acc[8];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512i u[4];
      codes(half_of<Narrow>(s, half), u);
#pragma GCC unroll 4
      for (int p = 0; p < 4; ++p) {
        acc[4 * half + p] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u[p], x[4 * half + p]);
      }
    }
    __m512i halves[2];
    natural_halves(acc, halves);
    out[0] = kHalfScales ? halves[0] : _mm512_add_epi32(halves[0], halves[1]);
    out[1] = halves[1];
  }

  LETHE_AVX512_INLINE static void scales(const WideStep& s, __m512* out, __m512* mins) noexcept {
    StepScales low;
    StepScales high;
    Narrow::scales(half_of<Narrow>(s, 0), low);
    Narrow::scales(half_of<Narrow>(s, 1), high);
#pragma GCC unroll 2
    for (int h = 0; h < (kHalfScales ? 2 : 1); ++h) {
      out[h] = join512(low.scales[h], high.scales[h]);
      if constexpr (kMins) mins[h] = join512(low.mins[h], high.mins[h]);
    }
  }
};

}  // namespace
}  // namespace lethe::kernels
