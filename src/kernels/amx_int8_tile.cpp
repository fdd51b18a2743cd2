#include "kernels/amx_int8_tile.h"

#include "kernels/amx.h"
#include "kernels/int8_encodings.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_tile<Format, TileProducts<AmxTiles>>(table, encoding);
}

}  // namespace

void install_amx_int8_tile(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
