#pragma once

#include <cstddef>
#include <cstdint>

// Tile registers in plain C++, as Intel's manual of instructions describes those of AMX (palette 1)
// and TDPBSSD. Also for translation units with wide flags, so it is in an unnamed namespace and
// uses no library. What a processor answers with a fault makes a function return false.

namespace lethe::testing {
namespace {

class TileRegisters {
 public:
  static constexpr int kTiles = 8;
  static constexpr int kRows = 16;
  static constexpr int kRowBytes = 64;
  static constexpr int kConfigBytes = 64;

  /// LDTILECFG. Bytes: palette, first row, 14 zeros, 16 words of bytes per row, 16 bytes of rows.
  bool load_config(const uint8_t* config) noexcept {
    const int palette = config[0];
    if (palette > 1) return false;
    for (int i = 2; i < 16; ++i) {
      if (config[i] != 0) return false;
    }
    Shape shapes[16];
    for (int i = 0; i < 16; ++i) {
      shapes[i] = {config[48 + i], config[16 + 2 * i] + 256 * config[17 + 2 * i]};
      const Shape& s = shapes[i];
      if (s.rows > kRows || s.row_bytes > kRowBytes) return false;
      if ((s.rows == 0) != (s.row_bytes == 0)) return false;
      if ((i >= kTiles || palette == 0) && s.rows != 0) return false;
    }
    __builtin_memcpy(config_, config, kConfigBytes);
    __builtin_memcpy(shapes_, shapes, sizeof(shapes_));
    __builtin_memset(tiles_, 0, sizeof(tiles_));
    return true;
  }
  /// STTILECFG.
  void store_config(uint8_t* config) const noexcept {
    __builtin_memcpy(config, config_, kConfigBytes);
  }

  /// TILELOADD: row r from base + r * stride; what lies past its bytes and rows becomes zero.
  bool load(int tile, const void* base, int64_t stride) noexcept {
    if (!usable(tile)) return false;
    __builtin_memset(tiles_[tile], 0, sizeof(tiles_[tile]));
    for (int r = 0; r < shapes_[tile].rows; ++r) {
      __builtin_memcpy(tiles_[tile][r], static_cast<const uint8_t*>(base) + r * stride,
                       static_cast<size_t>(shapes_[tile].row_bytes));
    }
    return true;
  }
  /// TILESTORED.
  bool store(int tile, void* base, int64_t stride) const noexcept {
    if (!usable(tile)) return false;
    for (int r = 0; r < shapes_[tile].rows; ++r) {
      __builtin_memcpy(static_cast<uint8_t*>(base) + r * stride, tiles_[tile][r],
                       static_cast<size_t>(shapes_[tile].row_bytes));
    }
    return true;
  }
  /// TILEZERO.
  bool zero(int tile) noexcept {
    if (!usable(tile)) return false;
    __builtin_memset(tiles_[tile], 0, sizeof(tiles_[tile]));
    return true;
  }

  /// TDPBSSD: sums[m][n] += a[m][4k + i] * b[k][4n + i], over all k and i < 4.
  bool add_products(int sums, int a, int b) noexcept {
    if (!usable(sums) || !usable(a) || !usable(b)) return false;
    if (sums == a || sums == b || a == b) return false;
    const Shape& s = shapes_[sums];
    if (s.row_bytes % 4 != 0 || shapes_[a].row_bytes % 4 != 0 || shapes_[b].row_bytes % 4 != 0 ||
        s.rows != shapes_[a].rows || s.row_bytes != shapes_[b].row_bytes ||
        shapes_[a].row_bytes / 4 != shapes_[b].rows) {
      return false;
    }
    for (int m = 0; m < s.rows; ++m) {
      uint32_t row[kRowBytes / 4] = {};
      __builtin_memcpy(row, tiles_[sums][m], static_cast<size_t>(s.row_bytes));
      for (int k = 0; k < shapes_[b].rows; ++k) {
        const uint8_t* four = tiles_[a][m] + 4 * k;
        for (int n = 0; n < s.row_bytes / 4; ++n) row[n] += product(four, tiles_[b][k] + 4 * n);
      }
      __builtin_memcpy(tiles_[sums][m], row, static_cast<size_t>(s.row_bytes));
    }
    return true;
  }

 private:
  struct Shape {
    int rows = 0;
    int row_bytes = 0;
  };

  bool usable(int tile) const noexcept {
    return tile >= 0 && tile < kTiles && shapes_[tile].rows != 0;
  }
  static uint32_t product(const uint8_t* a, const uint8_t* b) noexcept {
    int32_t sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<int8_t>(a[i]) * static_cast<int8_t>(b[i]);
    return static_cast<uint32_t>(sum);
  }

  uint8_t config_[kConfigBytes] = {};
  Shape shapes_[kTiles];
  uint8_t tiles_[kTiles][kRows][kRowBytes] = {};
};

}  // namespace
}  // namespace lethe::testing
