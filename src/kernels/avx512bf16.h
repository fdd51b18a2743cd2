#pragma once

#include "kernels/kernel_table.h"

// What AVX-512 BF16 adds to the AVX-512 set (kernel_sets.cpp joins and checks). As
// kernels/avx512.h.
//
// Dots of BF16 rows, and of FP8 rows with e8m0 scales, by vdpbf16ps, in the order below for rows of
// one token and for tiles alike: the same bits of both, but not the scalar set's. Columns are taken
// in blocks of 512. A block is summed in 16 lanes from zero: each 32 elements add the pair (2l, 2l
// + 1) to lane l, as the instruction does (two products; subnormal inputs and results count as
// zero). Blocks are added lane by lane, in row order. At the end each quarter of 4 lanes gives (0 +
// 1) + (2 + 3), and the quarters (0 + 2) + (1 + 3).

namespace lethe::kernels {

/// row_dot, rows_dot and tile of BF16. narrow_streams: CpuFeatures'.
void install_avx512bf16_dots(KernelTable& table, bool narrow_streams) noexcept;
/// The same of Fp8Block and Fp8Row.
void install_avx512bf16_fp8_dots(KernelTable& table, bool narrow_streams) noexcept;
/// attend.
void install_avx512bf16_attention(KernelTable& table) noexcept;

}  // namespace lethe::kernels
