#pragma once

#include "kernels/kernel_table.h"

// What the NEON set gains on a CPU with int8 matrix products (i8mm). As in neon.h: the one symbol
// of its translation unit, which is compiled with wide flags. The scalar set's bits.

namespace lethe::kernels {

/// tile of the encodings with Int8 activations.
void install_neoni8mm_int8_tile(KernelTable& table) noexcept;

}  // namespace lethe::kernels
