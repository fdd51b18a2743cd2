#pragma once

#include "kernels/kernel_table.h"

namespace lethe::testing {

/// What kernels::install_amx_int8_tile installs, from the same source, with TileRegisters for tile
/// registers. Only for a CPU with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
void install_emulated_amx_int8_tile(kernels::KernelTable& table) noexcept;

}  // namespace lethe::testing
