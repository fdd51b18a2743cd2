#pragma once

#include "kernels/kernel_table.h"

// What AMX adds to the avx512bf16 set, for a CPU with AMX-TILE and AMX-INT8 besides, whose system
// keeps tile registers and has granted them (tile_permission.h; kernel_sets.cpp joins and checks).
// As kernels/avx512.h. All results have the avx512 set's bits.
//
// A thread's tile registers get their shape at its first product and keep it: nothing else in the
// program may change it without putting it back.

namespace lethe::kernels {

/// tile of the encodings with Int8 activations.
void install_amx_int8_tile(KernelTable& table) noexcept;

}  // namespace lethe::kernels
