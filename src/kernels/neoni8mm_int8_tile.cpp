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

struct Smmla {
  struct Sums {
    int32x4_t v[kTokens / 2][4];  // of a pair of tokens with a pair of rows
  };
  LETHE_NEON_INLINE static void clear(Sums& sums) noexcept {
#pragma GCC unroll 2
    for (int t = 0; t < kTokens / 2; ++t) {
#pragma GCC unroll 4
      for (int r = 0; r < 4; ++r) sums.v[t][r] = vdupq_n_s32(0);
    }
  }

  /// [8 columns][4 pairs of rows]
  LETHE_NEON_INLINE static void store(const int8x16_t* rows, int8_t* out, int quad) noexcept {
    out += 32 * quad;
    vst1q_s8(out, first_halves(rows[0], rows[1]));
    vst1q_s8(out + 16, first_halves(rows[2], rows[3]));
    vst1q_s8(out + 64, last_halves(rows[0], rows[1]));
    vst1q_s8(out + 80, last_halves(rows[2], rows[3]));
  }

  LETHE_NEON_INLINE static void add_half(const int8_t* w, const int8_t* x, Sums& sums) noexcept {
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
                                            Sums& sums) noexcept {
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const int8x16_t rows = vld1q_s8(w + 16 * r);
#pragma GCC unroll 2
      for (int t = 0; t < kTokens / 2; ++t) sums.v[t][r] = vmmlaq_s32(sums.v[t][r], rows, x[t]);
    }
  }

  template <int t, int q>
  LETHE_NEON_INLINE static int32x4_t rows_of(const Sums& sums) noexcept {
    const int32x4_t low = sums.v[t / 2][2 * q];
    const int32x4_t high = sums.v[t / 2][2 * q + 1];
    return t % 2 == 0 ? vuzp1q_s32(low, high) : vuzp2q_s32(low, high);
  }
};

}  // namespace

void install_neoni8mm_int8_tile(KernelTable& table) noexcept {
  for_all_formats<Tiles<Smmla>>(table);
}

}  // namespace lethe::kernels
