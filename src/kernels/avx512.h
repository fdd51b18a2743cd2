#pragma once

#include "kernels/kernel_table.h"

// The pieces of the AVX-512 set, for a CPU with AVX-512 F, BW, DQ, VL, VBMI and VNNI
// (kernel_sets.cpp joins and checks). Each is the one symbol of its translation unit, which is
// compiled with wide flags: call none of them, nor anything they install, before the check. All
// results but attention's have the scalar set's bits.

namespace lethe::kernels {

/// to_bf16, quantize_int8, swiglu.
void install_avx512_activations(KernelTable& table) noexcept;
/// dot_f32, fma_row_f32, fma_rows_f32; row_dot of F32; tile of F32, BF16, F16, Fp8Block, Fp8Row.
void install_avx512_f32(KernelTable& table) noexcept;
/// few_rows_dot.
void install_avx512_few_rows(KernelTable& table) noexcept;
/// rows_dot of Fp8Block and Fp8Row.
void install_avx512_fp8_rows(KernelTable& table) noexcept;
/// rows_dot of the encodings with Int8 activations. narrow_streams: CpuFeatures'.
void install_avx512_int8_rows(KernelTable& table, bool narrow_streams) noexcept;
/// int8_tile.
void install_avx512_int8_tile(KernelTable& table) noexcept;
/// attend, with the avx2 set's bits.
void install_avx512_attention(KernelTable& table) noexcept;
/// index_scores.
void install_avx512_index_scores(KernelTable& table) noexcept;

}  // namespace lethe::kernels
