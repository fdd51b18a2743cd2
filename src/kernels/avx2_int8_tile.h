#pragma once

#include "kernels/avx2_steps.h"
#include "kernels/kernel_table.h"

// Tiles in integers with 256-bit vectors, written once for the sets that have them; only for
// translation units with wide flags. 16 rows are two vectors with a lane for each row. A panel
// holds, per group of 32 columns, the codes as Products wants them, then the scales of the 16 rows
// (of their halves with kHalfScales), then their minima. 4 tokens are multiplied at a time, so that
// their sums of codes and a pair of weight vectors fit the registers; the f32 sums of the tile's
// tokens wait in the first cache. Group values are added group by group in a lane, which is row
// order (kernels/row_dot.h).
//
// Products, of a format, has
//   kCodeBytes               of a group in a panel
//   store(turned, out)       8 vectors of 8 rows, dword r of vector v: codes 4v .. 4v + 3 of row r,
//                            to out, out + 64, ...
//   sums<first, count>(codes, x, t, which, out)
//                            out[r][q]: of vectors first .. first + count - 1 of row half r, their
//                            exact sum of products with token t + q, as f32; `which` sum of the
//                            token's codes belongs to them (Int8TileGroup)

namespace lethe::kernels {
namespace {

constexpr int kQuad = 4;         // tokens multiplied at a time
constexpr int kRowHalves = 2;    // vectors of rows
constexpr int kCodeVectors = 8;  // of a group and a row half, 4 columns each

using QuadSums = __m256[kRowHalves][kQuad];

template <typename Format, typename Products>
struct Panel {
  static constexpr int kScales = Format::kHalfScales ? 2 : 1;
  static constexpr int kScaleRows = kScales * (Format::kMins ? 2 : 1);
  static constexpr int kScaleBytes = 4 * kPanelRows;
  static constexpr int kGroupBytes = Products::kCodeBytes + kScaleRows * kScaleBytes;
};

/// An 8 x 8 matrix of dwords turned: lane j of out[i] was lane i of in[j].
LETHE_AVX2_INLINE void transpose8(const __m256i* in, __m256i* out) noexcept {
  __m256i a[8];
#pragma GCC unroll 2
  for (int q = 0; q < 8; q += 4) {  // within 128-bit lanes, rows q .. q + 3
    const __m256i low01 = _mm256_unpacklo_epi32(in[q], in[q + 1]);
    const __m256i high01 = _mm256_unpackhi_epi32(in[q], in[q + 1]);
    const __m256i low23 = _mm256_unpacklo_epi32(in[q + 2], in[q + 3]);
    const __m256i high23 = _mm256_unpackhi_epi32(in[q + 2], in[q + 3]);
    a[q + 0] = _mm256_unpacklo_epi64(low01, low23);
    a[q + 1] = _mm256_unpackhi_epi64(low01, low23);
    a[q + 2] = _mm256_unpacklo_epi64(high01, high23);
    a[q + 3] = _mm256_unpackhi_epi64(high01, high23);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i] = _mm256_permute2x128_si256(a[i], a[4 + i], 0x20);
    out[4 + i] = _mm256_permute2x128_si256(a[i], a[4 + i], 0x31);
  }
}

// --- packing

/// One step of 16 rows: codes by group, and scales (then minima) with a lane for each group.
struct StepRows {
  __m256i codes[kGroups][kPanelRows];
  __m256i scales[4][kPanelRows];
};

template <typename Format>
LETHE_AVX2_INLINE void unpack_row(const Step& s, int64_t r, StepRows& out) noexcept {
  __m256i codes[kGroups];
  unpack<Format>(s, codes);
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) out.codes[g][r] = codes[g];
  StepScales scales;
  Format::scales(s, scales);
  constexpr int kScales = Format::kHalfScales ? 2 : 1;
#pragma GCC unroll 2
  for (int h = 0; h < kScales; ++h) {
    out.scales[h][r] = _mm256_castps_si256(scales.scales[h]);
    if constexpr (Format::kMins) {
      out.scales[kScales + h][r] = _mm256_castps_si256(scales.mins[h]);
    }
  }
}

template <typename Format>
[[gnu::noinline]] void unpack_tail(const WeightRow& row, int64_t step, int64_t groups, int64_t r,
                                   StepRows& out) noexcept {
  const PaddedStep<Format> padded(row, step, groups);
  unpack_row<Format>(padded.step(), r, out);
}

/// The first `groups` groups of a step, turned so that rows are lanes.
template <typename Format, typename Products>
void store_step(const StepRows& step, int64_t groups, std::byte* panel) noexcept {
  using Panel = Panel<Format, Products>;
  for (int h = 0; h < kRowHalves; ++h) {
    __m256i turned[8];
    for (int64_t g = 0; g < groups; ++g) {
      transpose8(step.codes[g] + 8 * h, turned);
      Products::store(turned, panel + g * Panel::kGroupBytes + 32 * h);
    }
    for (int v = 0; v < Panel::kScaleRows; ++v) {
      transpose8(step.scales[v] + 8 * h, turned);
      std::byte* out = panel + Products::kCodeBytes + Panel::kScaleBytes * v + 32 * h;
      for (int64_t g = 0; g < groups; ++g) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(out + g * Panel::kGroupBytes), turned[g]);
      }
    }
  }
}

template <typename Format, typename Products>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  constexpr int64_t kStepBytes = kGroups * Panel<Format, Products>::kGroupBytes;
  StepRows step;
  if (num_rows < kPanelRows) __builtin_memset(&step, 0, sizeof(step));
  const int64_t steps = n / kStep;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t r = 0; r < num_rows; ++r) unpack_row<Format>(step_at<Format>(rows[r], s), r, step);
    store_step<Format, Products>(step, kGroups, panel + s * kStepBytes);
  }
  if (has_tail<Format>(n)) {
    const int64_t rest = (n - steps * kStep) / kGroup;
    for (int64_t r = 0; r < num_rows; ++r) unpack_tail<Format>(rows[r], steps, rest, r, step);
    store_step<Format, Products>(step, rest, panel + steps * kStepBytes);
  }
}

// --- multiplying

LETHE_AVX2_INLINE __m256i load_aligned(const std::byte* p) noexcept {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
LETHE_AVX2_INLINE __m256 load_scales(const std::byte* p) noexcept {
  return _mm256_castsi256_ps(load_aligned(p));
}
/// Four bytes to all lanes.
LETHE_AVX2_INLINE __m256i all_lanes(const void* four_bytes) noexcept {
  int32_t value;
  __builtin_memcpy(&value, four_bytes, sizeof(value));
  return _mm256_set1_epi32(value);
}

/// values = scales times sums, of the whole group or, for halves, of the first and then the second.
template <int kFirst, int kCount, typename Products>
LETHE_AVX2_INLINE void scaled_sums(const std::byte* codes, const std::byte* scales,
                                   const Int8TileGroup& x, int64_t t, int which,
                                   QuadSums& values) noexcept {
  QuadSums sums;
  Products::template sums<kFirst, kCount>(codes, x, t, which, sums);
#pragma GCC unroll 2
  for (int r = 0; r < kRowHalves; ++r) {
    const __m256 scale = load_scales(scales + 32 * r);
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
      const __m256 product = _mm256_mul_ps(scale, sums[r][q]);
      values[r][q] = which == 2 ? _mm256_add_ps(values[r][q], product) : product;
    }
  }
}

/// What the minima of a group take from a token's value, without the token's scale.
template <typename Format>
LETHE_AVX2_INLINE __m256 mins_product(const std::byte* mins, const Int8TileGroup& x,
                                      int64_t t) noexcept {
  if constexpr (Format::kHalfScales) {
    return _mm256_add_ps(
        _mm256_mul_ps(load_scales(mins), _mm256_broadcast_ss(x.sums[1] + t)),
        _mm256_mul_ps(load_scales(mins + 4 * kPanelRows), _mm256_broadcast_ss(x.sums[2] + t)));
  } else {
    return _mm256_mul_ps(load_scales(mins), _mm256_broadcast_ss(x.sums[0] + t));
  }
}

/// Adds the values of a group to the sums of tokens t .. t + 3.
template <typename Format, typename Products>
LETHE_AVX2_INLINE void add_group(const std::byte* group, const Int8TileGroup& x, int64_t t,
                                 float (*totals)[kPanelRows]) noexcept {
  using Panel = Panel<Format, Products>;
  const std::byte* scales = group + Products::kCodeBytes;
  QuadSums values;
  if constexpr (Format::kHalfScales) {
    scaled_sums<0, 4, Products>(group, scales, x, t, 1, values);
    scaled_sums<4, 4, Products>(group, scales + Panel::kScaleBytes, x, t, 2, values);
  } else {
    scaled_sums<0, 8, Products>(group, scales, x, t, 0, values);
  }
#pragma GCC unroll 4
  for (int q = 0; q < kQuad; ++q) {
    const __m256 scale = _mm256_broadcast_ss(x.scales + t + q);
#pragma GCC unroll 2
    for (int r = 0; r < kRowHalves; ++r) {
      __m256 value = _mm256_mul_ps(values[r][q], scale);
      if constexpr (Format::kMins) {
        const std::byte* mins = scales + Panel::kScales * Panel::kScaleBytes + 32 * r;
        value = _mm256_sub_ps(value, _mm256_mul_ps(scale, mins_product<Format>(mins, x, t + q)));
      }
      float* total = totals[t + q] + 8 * r;
      _mm256_store_ps(total, _mm256_add_ps(_mm256_load_ps(total), value));
    }
  }
}

template <typename Format, typename Products>
void dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  alignas(32) float totals[kTileTokens][kPanelRows] = {};
  const int64_t groups = n / kGroup;
  for (int64_t g = 0; g < groups; ++g, panel += Panel<Format, Products>::kGroupBytes) {
    for (int64_t t = 0; t < tile.count; t += kQuad) {
      add_group<Format, Products>(panel, tile.int8[g], t, totals);
    }
  }
  for (int64_t t = 0; t < tile.count; ++t) {
    __builtin_memcpy(out + t * out_stride, totals[t], 4 * static_cast<size_t>(num_rows));
  }
}

template <typename Format, typename Products>
void set_tile(KernelTable& table, quant::Encoding encoding) noexcept {
  TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
  tile.group_bytes = Panel<Format, Products>::kGroupBytes;
  tile.pack = pack<Format, Products>;
  tile.dot = dot<Format, Products>;
}

}  // namespace
}  // namespace lethe::kernels
