#pragma once

#include "kernels/avx512_int8_panels.h"
#include "kernels/kernel_table.h"

// Tiles in integers, written once for the sets whose panels those of avx512_int8_panels.h are: some
// panels of 16 rows, whose lanes are rows, with the tokens of a tile. Group values are added group
// by group in a lane, which is row order (kernels/row_dot.h).
//
// Where scales are powers of two, w = 2^k, a sum S also starts at the bits of m = 1.5 * 2^23 * w:
// while |S| < 2^22, what comes out are the bits of m + w * S, and less m that is w * S, exactly, as
// the conversion and the multiplication that it saves would give it.
//
// Products has
//   kOffset       of the codes in its panels
//   kMostPanels   that it takes at once, 2 or 3
//   kBlockGroups  groups that all tokens go through before the next are begun: their panels and
//                 their part of the tile stay in the first cache
//   begin<Narrow, kPowers, kPanels>(panels, x, groups)
//                 what it does once for `groups` groups, the first at panels[p] and x
//   sums<kPowers, kHalf, kPanels>(panels, x, group, first, sums)
//                 sums[p][t] of the products of a half (kHalf 0, 1) or the whole (2) of a group, at
//                 panels[p] and x, number `group` of those begun, with token first + t; from the
//                 bits of the scales on with kPowers

namespace lethe::kernels {
namespace {

LETHE_AVX512_INLINE __m512i all_lanes(const void* four_bytes) noexcept {
  int32_t value;
  __builtin_memcpy(&value, four_bytes, sizeof(value));
  return _mm512_set1_epi32(value);
}

constexpr int kTogether = 4;  // tokens of a step

/// Of kTogether tokens with 16 rows each.
template <int kPanels>
using Totals = __m512[kPanels][kTogether];

/// Scale times sum of products of a half (kHalf 0, 1) or of whole groups (2).
template <bool kPowers, int kHalf, int kPanels, typename Products>
LETHE_AVX512_INLINE void scaled_sums(const Products& products, const std::byte* const* panels,
                                     const Int8TileGroup& x, int64_t group, int64_t first,
                                     __m512 (*values)[kTogether]) noexcept {
  __m512i sums[kPanels][kTogether];
  products.template sums<kPowers, kHalf, kPanels>(panels, x, group, first, sums);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const __m512 scales = _mm512_loadu_ps(panels[p] + 64 * (kCodeVectors + kHalf % 2));
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      if constexpr (kPowers) {
        values[p][t] = _mm512_sub_ps(_mm512_castsi512_ps(sums[p][t]), scales);
      } else {
        values[p][t] = _mm512_mul_ps(scales, _mm512_cvtepi32_ps(sums[p][t]));
      }
    }
  }
}

/// totals += the values of a group.
template <typename Narrow, bool kPowers, int kPanels, typename Products>
LETHE_AVX512_INLINE void add_group(const Products& products, const std::byte* const* panels,
                                   const Int8TileGroup& x, int64_t group, int64_t first,
                                   __m512 (*totals)[kTogether]) noexcept {
  constexpr int kScales = Panel<Narrow>::kScales;
  const auto vector = [&](int p, int v) {
    return _mm512_loadu_ps(panels[p] + 64 * (kCodeVectors + v));
  };
  __m512 values[kPanels][kTogether];
  if constexpr (Narrow::kHalfScales) {
    __m512 second[kPanels][kTogether];
    scaled_sums<kPowers, 0, kPanels>(products, panels, x, group, first, values);
    scaled_sums<kPowers, 1, kPanels>(products, panels, x, group, first, second);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) values[p][t] = _mm512_add_ps(values[p][t], second[p][t]);
    }
  } else {
    scaled_sums<kPowers, 2, kPanels>(products, panels, x, group, first, values);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTogether; ++t) {
    const __m512 scale = _mm512_set1_ps(x.scales[first + t]);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      __m512 value = _mm512_mul_ps(values[p][t], scale);
      if constexpr (Narrow::kMins) {
        constexpr int kFirstSums = Narrow::kHalfScales ? 1 : 0;
        __m512 mins =
            _mm512_mul_ps(vector(p, kScales), _mm512_set1_ps(x.sums[kFirstSums][first + t]));
        if constexpr (Narrow::kHalfScales) {
          mins = _mm512_add_ps(
              mins, _mm512_mul_ps(vector(p, kScales + 1), _mm512_set1_ps(x.sums[2][first + t])));
        }
        value = _mm512_sub_ps(value, _mm512_mul_ps(scale, mins));
      }
      totals[p][t] = _mm512_add_ps(totals[p][t], value);
    }
  }
}

/// kPanels panels, panel_bytes apart, with a tile.
template <typename Narrow, typename Products, bool kPowers, int kPanels>
void multiply(const std::byte* panel, int64_t panel_bytes, int64_t groups,
              const ActivationTile& tile, Totals<kPanels>* totals) noexcept {
  for (int64_t first = 0; first < tile.count; first += kTogether) {
    for (auto& of_panel : totals[first / kTogether]) {
      for (__m512& total : of_panel) total = _mm512_setzero_ps();
    }
  }
  Products products;
  for (int64_t begin = 0; begin < groups; begin += Products::kBlockGroups) {
    const int64_t rest = groups - begin;
    const int64_t count = rest < Products::kBlockGroups ? rest : Products::kBlockGroups;
    const Int8TileGroup* x = tile.int8 + begin;
    const std::byte* block[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      block[p] = panel + p * panel_bytes + begin * Panel<Narrow>::kGroupBytes;
    }
    products.template begin<Narrow, kPowers, kPanels>(block, x, count);
    for (int64_t first = 0; first < tile.count; first += kTogether) {
      __m512 sums[kPanels][kTogether];  // in registers
      const std::byte* at[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        at[p] = block[p];
#pragma GCC unroll 4
        for (int t = 0; t < kTogether; ++t) sums[p][t] = totals[first / kTogether][p][t];
      }
      for (int64_t g = 0; g < count; ++g) {
        add_group<Narrow, kPowers, kPanels>(products, at, x[g], g, first, sums);
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) at[p] += Panel<Narrow>::kGroupBytes;
      }
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 4
        for (int t = 0; t < kTogether; ++t) totals[first / kTogether][p][t] = sums[p][t];
      }
    }
  }
}

/// Whether one of the panels has its scales as they are.
LETHE_AVX512_INLINE bool plain_scales(const std::byte* panels, int64_t panel_bytes,
                                      int count) noexcept {
  int32_t any = 0;
  for (int p = 0; p < count; ++p) {
    int32_t plain;
    __builtin_memcpy(&plain, panels + p * panel_bytes, sizeof(plain));
    any |= plain;
  }
  return any != 0;
}

template <typename Narrow, typename Products, bool kPowers, int kPanels>
void dot_panels(const std::byte* panel, int64_t panel_bytes, int64_t num_rows, int64_t groups,
                const ActivationTile& tile, float* out, int64_t out_stride) noexcept {
  Totals<kPanels> totals[kTileTokens / kTogether];
  multiply<Narrow, Products, kPowers, kPanels>(panel, panel_bytes, groups, tile, totals);
  for (int p = 0; p < kPanels; ++p) {
    const int64_t rest = num_rows - p * kPanelRows;
    const auto present = static_cast<__mmask16>(rest < kPanelRows ? (1u << rest) - 1 : 0xffffu);
    for (int64_t t = 0; t < tile.count; ++t) {
      _mm512_mask_storeu_ps(out + t * out_stride + p * kPanelRows, present,
                            totals[t / kTogether][p][t % kTogether]);
    }
  }
}

/// The rows of kPanels panels, or, where their scales are of different kinds, one panel by itself.
/// Returns how many panels that was.
template <typename Narrow, typename Products, int kPanels>
int64_t dot_some(const std::byte* panels, int64_t panel_bytes, int64_t num_rows, int64_t groups,
                 const ActivationTile& tile, float* out, int64_t out_stride) noexcept {
  constexpr bool kPowers = Panel<Narrow>::kPowers;
  constexpr int64_t kHead = kPowers ? kHeadBytes : 0;
  if (!(kPowers && plain_scales(panels, panel_bytes, kPanels))) {
    dot_panels<Narrow, Products, kPowers, kPanels>(panels + kHead, panel_bytes, num_rows, groups,
                                                   tile, out, out_stride);
    return kPanels;
  }
  if constexpr (kPanels > 1) {
    return dot_some<Narrow, Products, 1>(panels, panel_bytes, num_rows, groups, tile, out,
                                         out_stride);
  }
  dot_panels<Narrow, Products, false, 1>(panels + kHead, 0, num_rows, groups, tile, out,
                                         out_stride);
  return 1;
}

/// Panels at once. Sums of halves take more registers.
template <typename Narrow, typename Products>
constexpr int kPanelsOf = Narrow::kHalfScales ? 2 : Products::kMostPanels;

template <typename Narrow, typename Products>
void dot(const std::byte* panels, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  constexpr int64_t kHead = Panel<Narrow>::kPowers ? kHeadBytes : 0;
  constexpr int kMost = kPanelsOf<Narrow, Products>;
  const int64_t groups = n / kGroup;
  const int64_t panel_bytes = kHead + groups * Panel<Narrow>::kGroupBytes;
  while (num_rows > 0) {
    int64_t done = 1;
    if (kMost > 2 && num_rows > 2 * kPanelRows) {
      done = dot_some<Narrow, Products, kMost>(panels, panel_bytes, num_rows, groups, tile, out,
                                               out_stride);
    } else if (num_rows > kPanelRows) {
      done = dot_some<Narrow, Products, 2>(panels, panel_bytes, num_rows, groups, tile, out,
                                           out_stride);
    } else {
      done = dot_some<Narrow, Products, 1>(panels, panel_bytes, num_rows, groups, tile, out,
                                           out_stride);
    }
    panels += done * panel_bytes;
    num_rows -= done * kPanelRows;
    out += done * kPanelRows;
  }
}

template <typename Narrow, typename Products>
void set_tile(KernelTable& table, quant::Encoding encoding) noexcept {
  TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
  tile.group_bytes = Panel<Narrow>::kGroupBytes;
  tile.head_bytes = Panel<Narrow>::kPowers ? kHeadBytes : 0;
  tile.rows_at_once = kPanelsOf<Narrow, Products> * kPanelRows;
  tile.pack = Packing<Narrow, Products::kOffset>::pack;
  tile.dot = dot<Narrow, Products>;
}

}  // namespace
}  // namespace lethe::kernels
