#pragma once

#include "kernels/neon_int8_steps.h"

// Tiles in integers, written once for `sdot` and `smmla`. A panel holds 16 rows; per group of 32
// columns:
//
//   2 x 2 x 8 vectors   [octet of rows][16 columns]: codes in an order that Dots chooses
//   16 floats           scales of the rows; with kHalfScales as many again
//   0, or as many       minima
//
// From the sums of a group on, lanes are rows. Group values are added group by group in a lane,
// which is row order (kernels/row_dot.h).
//
// Dots has
//   Sums, clear(sums)                of 8 rows with 4 tokens
//   store(rows, out, quad)           16 codes of 4 rows to the 8 vectors of their octet, as its
//                                    first (0) or last (1) rows
//   add_half(w, x, sums)             adds 16 columns; x: the first token's, kGroup bytes from one
//                                    token to the next
//   rows_of<token, quad>(sums)       the sums of 4 rows with a token

namespace lethe::kernels {
namespace {

constexpr int kOctetBytes = 8 * kGroup;      // codes of 8 rows and a group
constexpr int kCodeBytes = 2 * kOctetBytes;  // of a panel's group
constexpr int kScaleBytes = 4 * kPanelRows;  // of 16 numbers
constexpr int kTokens = 4;                   // multiplied together with 8 rows

/// Numbers of 16 rows in a panel's group: scales, then minima.
template <bool kHalfScales, bool kMins>
constexpr int kScaleKinds = (kHalfScales ? 2 : 1) * (kMins ? 2 : 1);
template <bool kHalfScales, bool kMins>
constexpr int kGroupBytes = kCodeBytes + kScaleBytes* kScaleKinds<kHalfScales, kMins>;

// --- packing

/// One step of 4 rows.
struct StepRows {
  int8x16_t codes[4][2 * kGroups];
  Eight scales[4][4];  // [kind][row]
};

template <typename Format>
LETHE_NEON_INLINE void unpack_row(const Step& s, int r, StepRows& out) noexcept {
  Format::template pair<0>(s, out.codes[r]);
  Format::template pair<1>(s, out.codes[r] + 4);
  Format::template pair<2>(s, out.codes[r] + 8);
  Format::template pair<3>(s, out.codes[r] + 12);
  constexpr int kScales = Format::kHalfScales ? 2 : 1;
  StepScales scales;
  Format::scales(s, scales);
#pragma GCC unroll 2
  for (int h = 0; h < kScales; ++h) {
    out.scales[h][r] = scales.scales[h];
    if constexpr (Format::kMins) out.scales[kScales + h][r] = scales.mins[h];
  }
}

/// The first `groups` groups of a step: codes as Dots has them, scales turned so that rows are
/// lanes. `quad`: of the 4 rows.
template <typename Format, typename Dots>
LETHE_NEON_INLINE void store_step(const StepRows& step, int64_t groups, int quad,
                                  std::byte* panel) noexcept {
  constexpr int kKinds = kScaleKinds<Format::kHalfScales, Format::kMins>;
  constexpr int kBytes = kGroupBytes<Format::kHalfScales, Format::kMins>;
  for (int64_t g = 0; g < groups; ++g) {
    auto* const codes = reinterpret_cast<int8_t*>(panel + g * kBytes + quad / 2 * kOctetBytes);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const int8x16_t rows[4] = {step.codes[0][2 * g + h], step.codes[1][2 * g + h],
                                 step.codes[2][2 * g + h], step.codes[3][2 * g + h]};
      Dots::store(rows, codes + kOctetBytes / 2 * h, quad % 2);
    }
  }
  for (int k = 0; k < kKinds; ++k) {
    for (int q = 0; 4 * q < groups; ++q) {
      const float32x4_t rows[4] = {step.scales[k][0].v[q], step.scales[k][1].v[q],
                                   step.scales[k][2].v[q], step.scales[k][3].v[q]};
      float32x4_t columns[4];
      turn(rows, columns);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        if (4 * q + i >= groups) break;
        std::byte* const out = panel + (4 * q + i) * kBytes + kCodeBytes + kScaleBytes * k;
        vst1q_f32(reinterpret_cast<float*>(out) + 4 * quad, columns[i]);
      }
    }
  }
}

/// 4 rows, of which `count` are there.
template <typename Format, typename Dots>
void pack_rows(const WeightRow* rows, int64_t count, int64_t n, int quad,
               std::byte* panel) noexcept {
  constexpr int kBytes = kGroupBytes<Format::kHalfScales, Format::kMins>;
  StepRows step;
  if (count < 4) __builtin_memset(&step, 0, sizeof(step));
  const int64_t steps = n / kStep;
  for (int64_t s = 0; s < steps; ++s, panel += kGroups * kBytes) {
    for (int r = 0; r < count; ++r) unpack_row<Format>(step_at<Format>(rows[r], s), r, step);
    store_step<Format, Dots>(step, kGroups, quad, panel);
  }
  if (const int64_t rest = tail_groups<Format>(n); rest != 0) {
    for (int r = 0; r < count; ++r) {
      const PaddedStep<Format> padded(rows[r], steps, rest);
      unpack_row<Format>(padded.step(), r, step);
    }
    store_step<Format, Dots>(step, rest, quad, panel);
  }
}

template <typename Format, typename Dots>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  for (int quad = 0; quad < 4; ++quad) {
    const int64_t rest = num_rows - 4 * quad;
    const int64_t count = rest > 4 ? 4 : rest < 0 ? 0 : rest;
    pack_rows<Format, Dots>(rows + 4 * quad, count, n, quad, panel);
  }
}

// --- multiplying

/// values = scales * sums of 4 rows with token t, or, kAdd, values + scales * sums.
template <typename Dots, bool kAdd, int t, int q>
LETHE_NEON_INLINE void scale(const typename Dots::Sums& sums, float32x4_t scales,
                             float32x4_t (*values)[2]) noexcept {
  const float32x4_t product = vmulq_f32(scales, vcvtq_f32_s32(Dots::template rows_of<t, q>(sums)));
  values[t][q] = kAdd ? vaddq_f32(values[t][q], product) : product;
}
template <typename Dots, bool kAdd>
LETHE_NEON_INLINE void scale(const typename Dots::Sums& sums, const float* scales,
                             float32x4_t (*values)[2]) noexcept {
  const float32x4_t low = vld1q_f32(scales);
  scale<Dots, kAdd, 0, 0>(sums, low, values);
  scale<Dots, kAdd, 1, 0>(sums, low, values);
  scale<Dots, kAdd, 2, 0>(sums, low, values);
  scale<Dots, kAdd, 3, 0>(sums, low, values);
  const float32x4_t high = vld1q_f32(scales + 4);
  scale<Dots, kAdd, 0, 1>(sums, high, values);
  scale<Dots, kAdd, 1, 1>(sums, high, values);
  scale<Dots, kAdd, 2, 1>(sums, high, values);
  scale<Dots, kAdd, 3, 1>(sums, high, values);
}

/// A group's values of 8 rows and 4 tokens, before the tokens' scales.
template <typename Dots, bool kHalfScales>
LETHE_NEON_INLINE void multiply_codes(const int8_t* w, const float* scales, const int8_t* x,
                                      float32x4_t (*values)[2]) noexcept {
  typename Dots::Sums sums;
  Dots::clear(sums);
  Dots::add_half(w, x, sums);
  if constexpr (kHalfScales) {
    scale<Dots, false>(sums, scales, values);
    Dots::clear(sums);
  }
  Dots::add_half(w + kOctetBytes / 2, x + kGroup / 2, sums);
  scale<Dots, kHalfScales>(sums, kHalfScales ? scales + kPanelRows : scales, values);
}

/// What the minima take from 4 rows' values with a token.
template <bool kHalfScales>
LETHE_NEON_INLINE float32x4_t minima(const float* mins, const Int8TileGroup& x,
                                     int64_t token) noexcept {
  if constexpr (!kHalfScales) return vmulq_n_f32(vld1q_f32(mins), x.sums[0][token]);
  const float32x4_t first = vmulq_n_f32(vld1q_f32(mins), x.sums[1][token]);
  return vaddq_f32(first, vmulq_n_f32(vld1q_f32(mins + kPanelRows), x.sums[2][token]));
}

/// Dots of 8 rows, from `octet` on, with 4 tokens from `first` on.
template <typename Dots, bool kHalfScales, bool kMins>
LETHE_NEON_INLINE void multiply(const std::byte* panel, int64_t octet, int64_t groups,
                                const Int8TileGroup* tile, int64_t first,
                                float32x4_t (*totals)[2]) noexcept {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) totals[t][0] = totals[t][1] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g, panel += kGroupBytes<kHalfScales, kMins>) {
    const Int8TileGroup& x = tile[g];
    const auto* const w = reinterpret_cast<const int8_t*>(panel + octet * kOctetBytes);
    const auto* const scales = reinterpret_cast<const float*>(panel + kCodeBytes) + 8 * octet;
    float32x4_t values[kTokens][2];
    multiply_codes<Dots, kHalfScales>(w, scales, x.codes[first], values);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const float token_scale = x.scales[first + t];
#pragma GCC unroll 2
      for (int q = 0; q < 2; ++q) {
        float32x4_t value = vmulq_n_f32(values[t][q], token_scale);
        if constexpr (kMins) {
          const float* const mins = scales + (kHalfScales ? 2 : 1) * kPanelRows + 4 * q;
          const float32x4_t taken = minima<kHalfScales>(mins, x, first + t);
          value = vsubq_f32(value, vmulq_n_f32(taken, token_scale));
        }
        totals[t][q] = vaddq_f32(totals[t][q], value);
      }
    }
  }
}

template <typename Dots, bool kHalfScales, bool kMins>
void dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  for (int64_t first = 0; first < tile.count; first += kTokens) {
    for (int64_t r = 0; r < num_rows; r += 8) {
      float32x4_t totals[kTokens][2];
      multiply<Dots, kHalfScales, kMins>(panel, r / 8, n / kGroup, tile.int8, first, totals);
      const int64_t rows = num_rows - r < 8 ? num_rows - r : 8;
      for (int64_t t = first; t < tile.count && t < first + kTokens; ++t) {
        float all[8];
        vst1q_f32(all, totals[t - first][0]);
        vst1q_f32(all + 4, totals[t - first][1]);
        __builtin_memcpy(out + t * out_stride + r, all, sizeof(float) * static_cast<size_t>(rows));
      }
    }
  }
}

/// For for_all_formats.
template <typename Dots>
struct Tiles {
  template <typename Format>
  static void install(KernelTable& table, quant::Encoding encoding) noexcept {
    TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
    tile.group_bytes = kGroupBytes<Format::kHalfScales, Format::kMins>;
    tile.pack = pack<Format, Dots>;
    tile.dot = dot<Dots, Format::kHalfScales, Format::kMins>;
  }
};

}  // namespace
}  // namespace lethe::kernels
