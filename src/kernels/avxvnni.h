#pragma once

#include "kernels/kernel_table.h"

// The pieces that the avxvnni set adds to the AVX2 set, for a CPU with AVX-VNNI besides
// (kernel_sets.cpp joins and checks). Each is the one symbol of its translation unit, which is
// compiled with wide flags: call none of them, nor anything they install, before the check. All
// results have the scalar set's bits.

namespace lethe::kernels {

/// row_dot and rows_dot of the encodings with Int8 activations.
void install_avxvnni_int8_rows(KernelTable& table) noexcept;
/// tile of the same.
void install_avxvnni_int8_tile(KernelTable& table) noexcept;

}  // namespace lethe::kernels
