#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/row_dot.h"

// Products of many rows with many tokens: 16 weight rows are decoded once into a panel, a layout of
// the instruction set's own, and then multiplied with one tile of 16 tokens after the other. The
// arithmetic of an output is that of RowDot, to the bit, whatever lies beside it.

namespace lethe::kernels {

inline constexpr int64_t kPanelRows = 16;
inline constexpr int64_t kTileTokens = 16;

/// What a tile kernel reads of its tokens.
enum class TileForm : uint8_t { F32, Bf16, Int8 };

/// Columns that lie together in a bf16 tile, of one token after the other.
inline constexpr int64_t kBf16TileColumns = 512;

/// 32 columns of a tile with Int8 activations; a tile is n / 32 of them in a row.
/// Index 0 of the sums: of the group; 1 and 2: of its halves.
struct alignas(64) Int8TileGroup {
  int8_t codes[kTileTokens][32];
  float scales[kTileTokens];
  int32_t bias[3][kTileTokens];  ///< -128 times the sum of codes: for weight codes stored + 128
  float sums[3][kTileTokens];    ///< sums of codes, for weights with minima
};

/// Up to 16 tokens, prepared (ActivationTiles).
struct ActivationTile {
  int64_t count = 0;                   ///< tokens, 1 .. 16
  const Activation* tokens = nullptr;  ///< [count]
  /// F32: 16 columns of 16 tokens after the other; bf16 activations are widened.
  const float* f32 = nullptr;
  /// Bf16: kBf16TileColumns columns of 16 tokens after the other, those of the last block rounded
  /// up to 32. Past n are zeros, and tokens past count are up to a multiple of 4.
  const uint16_t* bf16 = nullptr;
  const Int8TileGroup* int8 = nullptr;  ///< Int8: [n / 32]; tokens past count are zeros
};

/// Decodes `num_rows` <= 16 rows of length n to a panel, 64-byte aligned. The rows missing to 16
/// become zeros.
using PackRows = void (*)(const WeightRow* rows, int64_t num_rows, int64_t n,
                          std::byte* panel) noexcept;

/// out[t * out_stride + r] = dot of row r with token t, for r < num_rows <=
/// TileKernel::rows_at_once and t < tile.count. Row r is one of panel r / 16; panels lie
/// TileKernel::panel_bytes(n) apart.
using TileDot = void (*)(const std::byte* panels, int64_t num_rows, int64_t n,
                         const ActivationTile& tile, float* out, int64_t out_stride) noexcept;

/// How a kernel set multiplies an encoding in tiles; all zero if it does not.
struct TileKernel {
  int64_t group_bytes = 0;  ///< of a panel, per 32 columns (the last may be partial): whole lines
  int64_t head_bytes = 0;   ///< before them: whole lines
  int64_t scale_multiple = 1;         ///< WeightRow::scale_block must be a multiple of it
  int64_t rows_at_once = kPanelRows;  ///< that `dot` takes: whole panels
  bool reads_bf16 = false;            ///< TileForm::Bf16 of Bf16 activations; else F32
  PackRows pack = nullptr;
  TileDot dot = nullptr;

  /// Whether it takes weights with such scales (0: none of their own).
  bool takes(int32_t scale_block) const noexcept {
    return pack != nullptr && scale_block % scale_multiple == 0;
  }
  /// Of tiles of such activations.
  TileForm form(ActivationFormat format) const noexcept {
    if (format == ActivationFormat::Int8) return TileForm::Int8;
    return format == ActivationFormat::Bf16 && reads_bf16 ? TileForm::Bf16 : TileForm::F32;
  }
  int64_t panel_bytes(int64_t n) const noexcept { return head_bytes + (n + 31) / 32 * group_bytes; }
};

}  // namespace lethe::kernels
