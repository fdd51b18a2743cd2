#include "kernels/neon_int8_tile.h"

#include "kernels/neon.h"

// Tiles by `sdot`, which multiplies 4 codes of each of 4 rows with the 4 of a token that lie in one
// lane of a vector.

namespace lethe::kernels {

namespace {

struct Sdot {
  struct Sums {
    int32x4_t v[kTokens][2];  // lanes are rows
  };
  LETHE_NEON_INLINE static void clear(Sums& sums) noexcept {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sums.v[t][0] = sums.v[t][1] = vdupq_n_s32(0);
  }

  /// [4 columns][2 quads]: dword r is 4 codes of a row.
  LETHE_NEON_INLINE static void store(const int8x16_t* rows, int8_t* out, int quad) noexcept {
    const float32x4_t dwords[4] = {vreinterpretq_f32_s8(rows[0]), vreinterpretq_f32_s8(rows[1]),
                                   vreinterpretq_f32_s8(rows[2]), vreinterpretq_f32_s8(rows[3])};
    float32x4_t columns[4];
    turn(dwords, columns);
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      vst1q_s8(out + 32 * c + 16 * quad, vreinterpretq_s8_f32(columns[c]));
    }
  }

  LETHE_NEON_INLINE static void add_half(const int8_t* w, const int8_t* x, Sums& sums) noexcept {
    int8x16_t codes[kTokens];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) codes[t] = vld1q_s8(x + kGroup * t);
    add_columns<0>(w, codes, sums);
    add_columns<1>(w, codes, sums);
    add_columns<2>(w, codes, sums);
    add_columns<3>(w, codes, sums);
  }
  /// Adds 4 columns, those in lane kLane of the tokens' vectors.
  template <int kLane>
  LETHE_NEON_INLINE static void add_columns(const int8_t* w, const int8x16_t* x,
                                            Sums& sums) noexcept {
    const int8x16_t low = vld1q_s8(w + 32 * kLane);
    const int8x16_t high = vld1q_s8(w + 32 * kLane + 16);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      sums.v[t][0] = vdotq_laneq_s32(sums.v[t][0], low, x[t], kLane);
      sums.v[t][1] = vdotq_laneq_s32(sums.v[t][1], high, x[t], kLane);
    }
  }

  template <int t, int q>
  LETHE_NEON_INLINE static int32x4_t rows_of(const Sums& sums) noexcept {
    return sums.v[t][q];
  }
};

}  // namespace

void install_neon_int8_tile(KernelTable& table) noexcept {
  for_all_formats<Tiles<Sdot>>(table);
}

}  // namespace lethe::kernels
