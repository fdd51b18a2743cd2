#pragma once

#include "kernels/avx2_int8_panels.h"
#include "kernels/kernel_table.h"

// Tiles in integers with 256-bit vectors, written once for the sets that have them; only for
// translation units with wide flags. Panels (avx2_int8_panels.h) are multiplied with 4 tokens at a
// time, so that their sums of codes and a pair of weight vectors fit the registers, and a few
// groups at a time, whose panels and part of the tile stay in the first cache. Group values are
// added group by group in a lane, which is row order (kernels/row_dot.h).
//
// Where scales are powers of two, w = 2^k, the value a * (w * S) of a group is w * (a * S), and the
// product with w, exact, is fused with the addition: while nothing leaves the range of normal
// numbers these are the same bits (ranges: avx2_int8_panels.h). Panels say whether all w allow it,
// and the a are looked at.
//
// Products, of a format, has
//   kCodeBytes               of a group in a panel
//   kTokenBytes              of a token's codes of a group, prepared; 0: as they are
//   store(turned, out)       8 vectors of 8 rows, dword r of vector v: codes 4v .. 4v + 3 of row r,
//                            to out, out + 64, ...
//   prepare(codes, out)      a token's codes of a group
//   sums<first, count>(codes, x, tokens, t, which, out)
//                            out[r][q]: of vectors first .. first + count - 1 of row half r, their
//                            exact sum of products with token t + q, whose codes are at `tokens` if
//                            they are prepared; `which` sum of the token's codes belongs to them
//                            (Int8TileGroup)

namespace lethe::kernels {
namespace {

constexpr int kQuad = 4;  // tokens multiplied at a time
constexpr int64_t kBlockGroups = 8;
constexpr int64_t kPanels = 3;  // that share the preparation of tokens

using QuadInts = __m256i[kRowHalves][kQuad];
using QuadSums = __m256[kRowHalves][kQuad];

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

/// Some groups of a tile.
struct TileBlock {
  const Int8TileGroup* groups;
  const std::byte* tokens;  // [count][16][kTokenBytes]
  int64_t count;
  int64_t num_tokens;
};

/// values = scales times sums, of the whole group or, for halves, of the first and then the second.
template <int kFirst, int kCount, typename Products>
LETHE_AVX2_INLINE void scaled_sums(const std::byte* codes, const std::byte* scales,
                                   const Int8TileGroup& x, const std::byte* tokens, int64_t t,
                                   int which, QuadSums& values) noexcept {
  QuadInts sums;
  Products::template sums<kFirst, kCount>(codes, x, tokens, t, which, sums);
#pragma GCC unroll 2
  for (int r = 0; r < kRowHalves; ++r) {
    const __m256 scale = load_scales(scales + 32 * r);
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
      const __m256 product = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums[r][q]));
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

/// Adds the values of a group to the totals of tokens t .. t + 3.
template <typename Format, typename Products>
LETHE_AVX2_INLINE void add_group(const std::byte* group, const Int8TileGroup& x,
                                 const std::byte* tokens, int64_t t, QuadSums& totals) noexcept {
  using Panel = Panel<Format, Products>;
  const std::byte* scales = group + Products::kCodeBytes;
  QuadSums values;
  if constexpr (Format::kHalfScales) {
    scaled_sums<0, 4, Products>(group, scales, x, tokens, t, 1, values);
    scaled_sums<4, 4, Products>(group, scales + Panel::kScaleBytes, x, tokens, t, 2, values);
  } else {
    scaled_sums<0, 8, Products>(group, scales, x, tokens, t, 0, values);
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
      totals[r][q] = _mm256_add_ps(totals[r][q], value);
    }
  }
}

/// The same where scales are powers of two.
template <typename Products>
LETHE_AVX2_INLINE void add_group_of_powers(const std::byte* group, const Int8TileGroup& x,
                                           const std::byte* tokens, int64_t t,
                                           QuadSums& totals) noexcept {
  QuadInts sums;
  Products::template sums<0, kCodeVectors>(group, x, tokens, t, 0, sums);
#pragma GCC unroll 4
  for (int q = 0; q < kQuad; ++q) {
    const __m256 scale = _mm256_broadcast_ss(x.scales + t + q);
#pragma GCC unroll 2
    for (int r = 0; r < kRowHalves; ++r) {
      const __m256 value = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sums[r][q]));
      totals[r][q] =
          _mm256_fmadd_ps(load_scales(group + Products::kCodeBytes + 32 * r), value, totals[r][q]);
    }
  }
}

/// Adds the values of a block of groups.
template <typename Format, typename Products, bool kPowers>
[[gnu::noinline]] void add_block(const std::byte* groups, const TileBlock& block,
                                 float (*totals)[kPanelRows]) noexcept {
  for (int64_t t = 0; t < block.num_tokens; t += kQuad, totals += kQuad) {
    QuadSums sums;
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
      for (int r = 0; r < kRowHalves; ++r) sums[r][q] = _mm256_load_ps(totals[q] + 8 * r);
    }
    const std::byte* group = groups;
    const std::byte* tokens = block.tokens;
    for (int64_t g = 0; g < block.count; ++g) {
      if constexpr (kPowers) {
        add_group_of_powers<Products>(group, block.groups[g], tokens, t, sums);
      } else {
        add_group<Format, Products>(group, block.groups[g], tokens, t, sums);
      }
      group += Panel<Format, Products>::kGroupBytes;
      tokens += kTileTokens * Products::kTokenBytes;
    }
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
      for (int r = 0; r < kRowHalves; ++r) _mm256_store_ps(totals[q] + 8 * r, sums[r][q]);
    }
  }
}

template <typename Products>
LETHE_AVX2_INLINE void prepare(const Int8TileGroup* x, int64_t count, int64_t num_tokens,
                               std::byte* out) noexcept {
  for (int64_t g = 0; g < count; ++g) {
    for (int64_t t = 0; t < num_tokens; t += kQuad) {
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        Products::prepare(x[g].codes[t + q],
                          out + (kTileTokens * g + t + q) * Products::kTokenBytes);
      }
    }
  }
}

/// Whether all scales of tokens are 0 or within 2^+-kTokenRange.
LETHE_AVX2_INLINE bool within_range(const Int8TileGroup* x, int64_t count) noexcept {
  __m256i most = _mm256_setzero_si256();
  __m256i least = bytes(-1);
  for (int64_t g = 0; g < count; ++g) {
#pragma GCC unroll 2
    for (int h = 0; h < kRowHalves; ++h) {
      const __m256i scales = load256(x[g].scales + 8 * h);
      most = _mm256_max_epu32(most, scales);
      least = _mm256_min_epu32(least, _mm256_add_epi32(scales, bytes(-1)));  // less 1: 0 is large
    }
  }
  const __m256i low = _mm256_set1_epi32((127 - kTokenRange) << 23);
  const __m256i high = _mm256_set1_epi32((127 + kTokenRange) << 23);
  const __m256i inside = _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_max_epu32(least, low), least),
                                          _mm256_cmpeq_epi32(_mm256_min_epu32(most, high), most));
  return _mm256_movemask_epi8(inside) == -1;
}

LETHE_AVX2_INLINE bool powers_of_two(const std::byte* panel) noexcept {
  int32_t plain;
  __builtin_memcpy(&plain, panel, sizeof(plain));
  return plain == 0;
}

LETHE_AVX2_INLINE void put_totals(const float (*totals)[kPanelRows], int64_t num_rows,
                                  int64_t num_tokens, float* out, int64_t out_stride) noexcept {
  for (int64_t t = 0; t < num_tokens; ++t, out += out_stride) {
    if (num_rows < kPanelRows) {
      __builtin_memcpy(out, totals[t], 4 * static_cast<size_t>(num_rows));
    } else {
      __builtin_memcpy(out, totals[t], sizeof(totals[t]));
    }
  }
}

template <typename Format, typename Products>
void dot(const std::byte* panels, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  using Panel = Panel<Format, Products>;
  constexpr int kPrepared = kTileTokens * Products::kTokenBytes;
  alignas(32) float totals[kPanels][kTileTokens][kPanelRows] = {};
  alignas(64) std::byte tokens[kPrepared == 0 ? 1 : kBlockGroups * kPrepared];
  const int64_t groups = n / kGroup;
  const int64_t panel_bytes = Panel::kHead + groups * Panel::kGroupBytes;
  for (int64_t begin = 0; begin < groups; begin += kBlockGroups) {
    const int64_t rest = groups - begin;
    const TileBlock block{tile.int8 + begin, tokens, rest < kBlockGroups ? rest : kBlockGroups,
                          tile.count};
    if constexpr (kPrepared != 0) prepare<Products>(block.groups, block.count, tile.count, tokens);
    bool powers = false;
    if constexpr (Panel::kPowers) powers = within_range(block.groups, block.count);
    const std::byte* panel = panels;
    for (int64_t p = 0; p * kPanelRows < num_rows; ++p, panel += panel_bytes) {
      const std::byte* at = panel + Panel::kHead + begin * Panel::kGroupBytes;
      if constexpr (Panel::kPowers) {
        if (powers && powers_of_two(panel)) {
          add_block<Format, Products, true>(at, block, totals[p]);
          continue;
        }
      }
      add_block<Format, Products, false>(at, block, totals[p]);
    }
  }
  for (int64_t p = 0; p * kPanelRows < num_rows; ++p) {
    put_totals(totals[p], num_rows - p * kPanelRows, tile.count, out + p * kPanelRows, out_stride);
  }
}

template <typename Format, typename Products>
void set_tile(KernelTable& table, quant::Encoding encoding) noexcept {
  TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
  tile.group_bytes = Panel<Format, Products>::kGroupBytes;
  tile.head_bytes = Panel<Format, Products>::kHead;
  tile.rows_at_once = kPanels * kPanelRows;
  tile.pack = pack<Format, Products>;
  tile.dot = dot<Format, Products>;
}

}  // namespace
}  // namespace lethe::kernels
