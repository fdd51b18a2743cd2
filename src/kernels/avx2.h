#pragma once

#include "kernels/kernel_table.h"

// The pieces of the AVX2 set, for a CPU with AVX2, FMA and F16C (kernel_sets.cpp joins and checks).
// Each is the one symbol of its translation unit, which is compiled with wide flags: call none of
// them, nor anything they install, before the check. All results have the scalar set's bits.

namespace lethe::kernels {

/// dot_f32, dot_f64, fma_row_f32, fma_rows_f32, fma_row_f64, swiglu.
void install_avx2_dots(KernelTable& table) noexcept;
/// few_rows_dot.
void install_avx2_few_rows(KernelTable& table) noexcept;
/// to_bf16, quantize_int8.
void install_avx2_activations(KernelTable& table) noexcept;
/// row_dot of the encodings with F32 and Bf16 activations.
void install_avx2_wide_row_dots(KernelTable& table) noexcept;
/// rows_dot of BF16, bf16_rows_with_f32.
void install_avx2_bf16_rows(KernelTable& table) noexcept;
/// rows_dot of Fp8Block. After install_avx2_wide_row_dots.
void install_avx2_fp8_rows(KernelTable& table) noexcept;
/// row_dot and rows_dot of the encodings with Int8 activations.
void install_avx2_int8_row_dots(KernelTable& table) noexcept;
/// tile of the encodings with Int8 activations.
void install_avx2_int8_tile(KernelTable& table) noexcept;
/// tile of the others.
void install_avx2_wide_tile(KernelTable& table) noexcept;

/// index_scores.
void install_avx2_index_scores(KernelTable& table) noexcept;
/// attend.
void install_avx2_attention(KernelTable& table) noexcept;

}  // namespace lethe::kernels
