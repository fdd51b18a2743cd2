#pragma once

#include "kernels/kernel_table.h"

// What AVX-512 BF16 adds to the AVX-512 set (kernel_sets.cpp joins and checks). As
// kernels/avx512.h.
//
// Row dots of BF16, Fp8Block and Fp8Row by vdpbf16ps, in the order below for rows of one token and
// for tiles alike, so that their results are the same bits; they are not the scalar set's.
// Weights become bf16 without their scale, exactly. Columns are taken in blocks: those of one
// scale, 128 for BF16. A block is summed in 16 lanes: each 32 elements add the pairs (2l, 2l + 1)
// to lane l, as the instruction does (two products, subnormal inputs and results as zero). Then
// lane l of the total gets scale * block, rounded, and the 16 lanes are added in a tree as
// dot_f32's.

namespace lethe::kernels {

/// rows_dot and row_dot of BF16, Fp8Block, Fp8Row; tile of them.
void install_avx512bf16_dots(KernelTable& table) noexcept;
/// attend.
void install_avx512bf16_attention(KernelTable& table) noexcept;

}  // namespace lethe::kernels
