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
// Dots says how the products of 8 rows with 4 tokens lie in 8 vectors; it has
//   store(rows, out, quad)   16 codes of 4 rows to the 8 vectors of their octet, as its first (0)
//                            or last (1) rows
//   add_half(w, x, sums)     adds 16 columns; x: the first token's, kGroup bytes from one to the
//                            next
//   rows(p, i), tokens(p, i) what of 8 numbers, one for each row, or of 4, belongs to vector i
//   put(totals, out)         to [token][row]

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

constexpr int kVectors = 8;  // 8 rows with 4 tokens, in the order of Dots

/// values = scales of rows * sums, or, kAdd, values + scales * sums.
template <typename Dots, bool kAdd>
LETHE_NEON_INLINE void scale(const int32x4_t* sums, const float* scales,
                             float32x4_t* values) noexcept {
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) {
    const float32x4_t product = vmulq_f32(Dots::rows(scales, i), vcvtq_f32_s32(sums[i]));
    values[i] = kAdd ? vaddq_f32(values[i], product) : product;
  }
}

LETHE_NEON_INLINE void clear(int32x4_t* sums) noexcept {
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) sums[i] = vdupq_n_s32(0);
}

/// A group's values before the tokens' scales.
template <typename Dots, bool kHalfScales>
LETHE_NEON_INLINE void multiply_codes(const int8_t* w, const float* scales, const int8_t* x,
                                      float32x4_t* values) noexcept {
  int32x4_t sums[kVectors];
  clear(sums);
  Dots::add_half(w, x, sums);
  if constexpr (kHalfScales) {
    scale<Dots, false>(sums, scales, values);
    clear(sums);
  }
  Dots::add_half(w + kOctetBytes / 2, x + kGroup / 2, sums);
  scale<Dots, kHalfScales>(sums, kHalfScales ? scales + kPanelRows : scales, values);
}

/// What the minima take from the values of vector i. x: from the first token on.
template <typename Dots, bool kHalfScales>
LETHE_NEON_INLINE float32x4_t minima(const float* mins, const float (*sums)[kTileTokens], int64_t t,
                                     int i) noexcept {
  const float* const first = sums[kHalfScales ? 1 : 0] + t;
  const float32x4_t product = vmulq_f32(Dots::rows(mins, i), Dots::tokens(first, i));
  if constexpr (!kHalfScales) return product;
  return add_product(product, Dots::rows(mins + kPanelRows, i), Dots::tokens(sums[2] + t, i));
}

/// Dots of 8 rows, from `octet` on, with 4 tokens from `first` on.
template <typename Dots, bool kHalfScales, bool kMins>
LETHE_NEON_INLINE void multiply(const std::byte* panel, int64_t octet, int64_t groups,
                                const Int8TileGroup* tile, int64_t first,
                                float32x4_t* totals) noexcept {
#pragma GCC unroll 8
  for (int i = 0; i < kVectors; ++i) totals[i] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g, panel += kGroupBytes<kHalfScales, kMins>) {
    const Int8TileGroup& x = tile[g];
    const auto* const w = reinterpret_cast<const int8_t*>(panel + octet * kOctetBytes);
    const auto* const scales = reinterpret_cast<const float*>(panel + kCodeBytes) + 8 * octet;
    const float* const mins = scales + (kHalfScales ? 2 : 1) * kPanelRows;
    float32x4_t values[kVectors];
    multiply_codes<Dots, kHalfScales>(w, scales, x.codes[first], values);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const float32x4_t of_tokens = Dots::tokens(x.scales + first, i);
      float32x4_t value = vmulq_f32(values[i], of_tokens);
      if constexpr (kMins) {
        const float32x4_t taken = minima<Dots, kHalfScales>(mins, x.sums, first, i);
        value = vsubq_f32(value, vmulq_f32(of_tokens, taken));
      }
      totals[i] = vaddq_f32(totals[i], value);
    }
  }
}

template <typename Dots, bool kHalfScales, bool kMins>
void dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  for (int64_t first = 0; first < tile.count; first += kTokens) {
    for (int64_t r = 0; r < num_rows; r += 8) {
      float32x4_t totals[kVectors];
      multiply<Dots, kHalfScales, kMins>(panel, r / 8, n / kGroup, tile.int8, first, totals);
      float all[kTokens][8];
      Dots::put(totals, all);
      const int64_t rows = num_rows - r < 8 ? num_rows - r : 8;
      for (int64_t t = first; t < tile.count && t < first + kTokens; ++t) {
        __builtin_memcpy(out + t * out_stride + r, all[t - first],
                         sizeof(float) * static_cast<size_t>(rows));
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
