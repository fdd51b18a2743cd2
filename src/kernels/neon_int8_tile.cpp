#include "kernels/neon_int8_tile.h"

#include "kernels/neon.h"

// Tiles by `sdot`, which multiplies 4 codes of each of 4 rows with the 4 of a token that lie in one
// lane of a vector.

namespace lethe::kernels {

namespace {

/// Vector 2 t + q: token t with rows 4 q .. 4 q + 3.
struct Sdot {
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

  LETHE_NEON_INLINE static void add_half(const int8_t* w, const int8_t* x,
                                         int32x4_t* sums) noexcept {
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
                                            int32x4_t* sums) noexcept {
    const int8x16_t low = vld1q_s8(w + 32 * kLane);
    const int8x16_t high = vld1q_s8(w + 32 * kLane + 16);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      sums[2 * t] = vdotq_laneq_s32(sums[2 * t], low, x[t], kLane);
      sums[2 * t + 1] = vdotq_laneq_s32(sums[2 * t + 1], high, x[t], kLane);
    }
  }

  LETHE_NEON_INLINE static float32x4_t rows(const float* p, int i) noexcept {
    return vld1q_f32(p + 4 * (i % 2));
  }
  LETHE_NEON_INLINE static float32x4_t tokens(const float* p, int i) noexcept {
    return vdupq_n_f32(p[i / 2]);
  }
  LETHE_NEON_INLINE static void put(const float32x4_t* totals, float (*out)[8]) noexcept {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) vst1q_f32(out[i / 2] + 4 * (i % 2), totals[i]);
  }
};

}  // namespace

void install_neon_int8_tile(KernelTable& table) noexcept {
  for_all_formats<Tiles<Sdot>>(table);
}

}  // namespace lethe::kernels
