#include "kernels/amx_tiles.h"
#include "kernels/peak_probe.h"

namespace lethe::kernels {

namespace {

/// All tiles whole, which products of 64 columns fill. 4 sums are under way at a time.
constexpr TileConfig kWholeTiles = [] {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = 16;
    config.row_bytes[tile] = 64;
  }
  return config;
}();

/// Leaves the thread's tiles with the shape they had, as kernels expect.
double amx_int8_ops(int64_t rounds) noexcept {
  TileConfig before;
  AmxTiles::store_config(before);
  AmxTiles::load_config(kWholeTiles);
  for (int64_t r = 0; r < rounds; ++r) {
    AmxTiles::add_products<0, 4, 6>();
    AmxTiles::add_products<1, 4, 7>();
    AmxTiles::add_products<2, 5, 6>();
    AmxTiles::add_products<3, 5, 7>();
  }
  AmxTiles::load_config(before);
  return 2.0 * 16 * 16 * 64 * 4 * static_cast<double>(rounds);
}

}  // namespace

void install_amx_peak_probe(PeakProbe& probe) noexcept {
  probe.int8_ops = amx_int8_ops;
}

}  // namespace lethe::kernels
