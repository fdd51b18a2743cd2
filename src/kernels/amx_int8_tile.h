#pragma once

#include "kernels/amx_tiles.h"
#include "kernels/avx512_int8_tile.h"

// Tiles in integers by AMX, over the instructions (AmxTiles) or something that behaves like them.
//
// A panel of signed codes is what the instruction wants as its second matrix: row k of it, 64
// bytes, has columns 4k .. 4k + 3 of 16 weight rows. The codes of 16 tokens are the first. Both
// reach as far as a scale does: 32 columns, or 16, half or a quarter of what a tile could hold. The
// sums, by token and then by row, go through memory to the vectors that scale and add them.

namespace lethe::kernels {
namespace {

// Tile registers. Those with an index have one for each panel.
constexpr int kSumTiles = 0;         // 16 tokens x 16 rows of 32 bits
constexpr int kTokenTile = 2;        // 16 tokens x 32 columns
constexpr int kRowTiles = 3;         // 8 times 4 columns x 16 rows
constexpr int kTokenHalfTile = 5;    // 16 tokens x 16 columns
constexpr int kRowHalfTiles = 6;     // 4 times 4 columns x 16 rows
constexpr int64_t kTokenBytes = 32;  // from token to token of an Int8TileGroup
constexpr int64_t kVectorBytes = 64;
constexpr int kMostTilePanels = 2;

constexpr TileConfig kInt8Tiles = [] {
  TileConfig config;
  const auto shape = [&](int tile, int rows, int row_bytes) {
    config.rows[tile] = static_cast<uint8_t>(rows);
    config.row_bytes[tile] = static_cast<uint16_t>(row_bytes);
  };
  shape(kTokenTile, kTileTokens, kGroup);
  shape(kTokenHalfTile, kTileTokens, kGroup / 2);
  for (int p = 0; p < kMostTilePanels; ++p) {
    shape(kSumTiles + p, kTileTokens, 4 * kPanelRows);
    shape(kRowTiles + p, kCodeVectors, 4 * kPanelRows);
    shape(kRowHalfTiles + p, kCodeVectors / 2, 4 * kPanelRows);
  }
  return config;
}();

/// Products of avx512_int8_tile.h.
template <typename Tiles>
class TileProducts {
 public:
  static constexpr int kOffset = 0;
  static constexpr int kMostPanels = kMostTilePanels;
  static constexpr int64_t kBlockGroups = 4;

  TileProducts() noexcept { tiles_.configure(kInt8Tiles); }

  template <typename Narrow, bool kPowers, int kPanels>
  void begin(const std::byte* const* panels, const Int8TileGroup* x, int64_t groups) noexcept {
    for (int64_t g = 0; g < groups; ++g) {
      const std::byte* at[kPanels];
      for (int p = 0; p < kPanels; ++p) at[p] = panels[p] + g * Panel<Narrow>::kGroupBytes;
      if constexpr (Narrow::kHalfScales) {
        multiply<kPowers, 0, kPanels>(at, x[g], sums_[g][0]);
        multiply<kPowers, 1, kPanels>(at, x[g], sums_[g][1]);
      } else {
        multiply<kPowers, 2, kPanels>(at, x[g], sums_[g][0]);
      }
    }
  }

  template <bool kPowers, int kHalf, int kPanels>
  LETHE_AVX512_INLINE void sums(const std::byte* const*, const Int8TileGroup&, int64_t group,
                                int64_t first, __m512i (*sums)[kTogether]) const noexcept {
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) {
        sums[p][t] = _mm512_load_si512(sums_[group][kHalf % 2][p][first + t]);
      }
    }
  }

 private:
  using Sums = int32_t[kTileTokens][kPanelRows];

  /// sums[p]: of a half (kHalf 0, 1) or the whole (2) of a group.
  template <bool kPowers, int kHalf, int kPanels>
  LETHE_AVX512_INLINE void multiply(const std::byte* const* panels, const Int8TileGroup& x,
                                    Sums* sums) noexcept {
    constexpr int kTokens = kHalf == 2 ? kTokenTile : kTokenHalfTile;
    tiles_.template load<kTokens>(x.codes[0] + (kHalf == 1 ? kGroup / 2 : 0), kTokenBytes);
    multiply_panel<kPowers, kHalf, kTokens, 0>(panels[0], sums[0]);
    if constexpr (kPanels == 2) multiply_panel<kPowers, kHalf, kTokens, 1>(panels[1], sums[1]);
  }

  template <bool kPowers, int kHalf, int kTokens, int kPanel>
  LETHE_AVX512_INLINE void multiply_panel(const std::byte* panel, Sums& sums) noexcept {
    constexpr int kSums = kSumTiles + kPanel;
    constexpr int kRows = (kHalf == 2 ? kRowTiles : kRowHalfTiles) + kPanel;
    constexpr int kFirst = kHalf == 1 ? kCodeVectors / 2 : 0;
    tiles_.template load<kRows>(panel + kVectorBytes * kFirst, kVectorBytes);
    if constexpr (kPowers) {
      tiles_.template load<kSums>(panel + kVectorBytes * kCodeVectors, 0);  // for all tokens
    } else {
      tiles_.template zero<kSums>();
    }
    tiles_.template add_products<kSums, kTokens, kRows>();
    tiles_.template store<kSums>(sums, 4 * kPanelRows);
  }

  Tiles tiles_;
  alignas(64) Sums sums_[kBlockGroups][2][kMostTilePanels];  // of a group or its halves
};

}  // namespace
}  // namespace lethe::kernels
