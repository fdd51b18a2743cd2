#pragma once

#include <cstdint>

// The instructions of AMX that kernels use, for translation units compiled with them. Tile
// registers are numbers in the instructions, so they are template arguments. The compiler's own
// intrinsics are macros that want a literal, and GCC 12's do not say that memory is read.

namespace lethe::kernels {
namespace {

/// What ldtilecfg reads: tile i has rows[i] rows of row_bytes[i] bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;  ///< 1: 8 tiles of up to 16 rows of 64 bytes; 0: none, their first state
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

struct AmxTiles {
  /// Gives the thread's tiles their shape, with zeros in them, unless it had been done; `config` is
  /// the same at every call from a translation unit.
  static void configure(const TileConfig& config) noexcept {
    thread_local bool done = false;
    if (done) return;
    load_config(config);
    done = true;
  }
  static void load_config(const TileConfig& config) noexcept {
    asm volatile("ldtilecfg %0" : : "m"(config));
  }
  static void store_config(TileConfig& config) noexcept {
    asm volatile("sttilecfg %0" : "=m"(config));
  }

  /// Row r of the tile from base + r * stride.
  template <int kTile>
  static void load(const void* base, int64_t stride) noexcept {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(kTile), "r"(base), "r"(stride) : "memory");
  }
  template <int kTile>
  static void store(void* base, int64_t stride) noexcept {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)"
                 :
                 : "i"(kTile), "r"(base), "r"(stride)
                 : "memory");
  }
  template <int kTile>
  static void zero() noexcept {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  /// sums[m][n] += a[m][4k + i] * b[k][4n + i] for all k and i < 4: signed bytes, 32-bit sums.
  template <int kSums, int kA, int kB>
  static void add_products() noexcept {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSums), "i"(kA), "i"(kB));
  }
};

}  // namespace
}  // namespace lethe::kernels
