#include "kernels/neon_int8_tile.h"
#include "kernels/neoni8mm.h"

// Tiles by `smmla`, which multiplies 8 codes of 2 rows with those of 2 tokens: twice the products
// of `sdot`. Its four sums lie by row, then token, and are put back into lanes of rows once a
// group.

namespace lethe::kernels {

namespace {

/// Halves of two vectors: the first of both, the last of both.
LETHE_NEON_INLINE int8x16_t first_halves(int8x16_t a, int8x16_t b) noexcept {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
LETHE_NEON_INLINE int8x16_t last_halves(int8x16_t a, int8x16_t b) noexcept {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/// Vector 4 t + r: tokens 2 t and 2 t + 1 with rows 2 r and 2 r + 1, a row after the other.
struct Smmla {
  /// [8 columns][4 pairs of rows]
  LETHE_NEON_INLINE static void store(const int8x16_t* rows, int8_t* out, int quad) noexcept {
    out += 32 * quad;
    vst1q_s8(out, first_halves(rows[0], rows[1]));
    vst1q_s8(out + 16, first_halves(rows[2], rows[3]));
    vst1q_s8(out + 64, last_halves(rows[0], rows[1]));
    vst1q_s8(out + 80, last_halves(rows[2], rows[3]));
  }

  LETHE_NEON_INLINE static void add_half(const int8_t* w, const int8_t* x,
                                         int32x4_t* sums) noexcept {
    int8x16_t first[kTokens / 2];
    int8x16_t last[kTokens / 2];
#pragma GCC unroll 2
    for (int t = 0; t < kTokens / 2; ++t) {
      const int8x16_t even = vld1q_s8(x + 2 * kGroup * t);
      const int8x16_t odd = vld1q_s8(x + 2 * kGroup * t + kGroup);
      first[t] = first_halves(even, odd);
      last[t] = last_halves(even, odd);
    }
    add_columns(w, first, sums);
    add_columns(w + 64, last, sums);
  }
  /// Adds 8 columns.
  LETHE_NEON_INLINE static void add_columns(const int8_t* w, const int8x16_t* x,
                                            int32x4_t* sums) noexcept {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const int8x16_t rows = vld1q_s8(w + 16 * r);
#pragma GCC unroll 2
      for (int t = 0; t < kTokens / 2; ++t)
        sums[4 * t + r] = vmmlaq_s32(sums[4 * t + r], rows, x[t]);
    }
  }

  LETHE_NEON_INLINE static float32x4_t rows(const float* p, int i) noexcept {
    const float32x4_t four = vld1q_f32(p + 4 * (i % 4 / 2));
    return i % 2 == 0 ? vzip1q_f32(four, four) : vzip2q_f32(four, four);
  }
  LETHE_NEON_INLINE static float32x4_t tokens(const float* p, int i) noexcept {
    const float32x2_t two = vld1_f32(p + 2 * (i / 4));
    return vcombine_f32(two, two);
  }
  LETHE_NEON_INLINE static void put(const float32x4_t* totals, float (*out)[8]) noexcept {
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i += 2) {
      const int row = i % 4 * 2;
      vst1q_f32(out[i / 4 * 2] + row, vuzp1q_f32(totals[i], totals[i + 1]));
      vst1q_f32(out[i / 4 * 2 + 1] + row, vuzp2q_f32(totals[i], totals[i + 1]));
    }
  }
};

}  // namespace

void install_neoni8mm_int8_tile(KernelTable& table) noexcept {
  for_all_formats<Tiles<Smmla>>(table);
}

}  // namespace lethe::kernels
