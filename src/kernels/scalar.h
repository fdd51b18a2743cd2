#pragma once

#include "kernels/kernel_table.h"

// The pieces of the scalar set (scalar_kernels() joins them).

namespace lethe::kernels {

/// dot_f32, dot_f64, fma_row_f32, fma_rows_f32, fma_row_f64.
void install_scalar_dots(KernelTable& table) noexcept;
/// to_bf16, quantize_int8.
void install_scalar_activations(KernelTable& table) noexcept;
/// row_dot of the encodings with F32 and Bf16 activations.
void install_scalar_wide_row_dots(KernelTable& table) noexcept;
/// row_dot of the encodings with Int8 activations.
void install_scalar_int8_row_dots(KernelTable& table) noexcept;
/// attend.
void install_scalar_attention(KernelTable& table) noexcept;
/// index_scores.
void install_scalar_index_scores(KernelTable& table) noexcept;

/// row_dot of Fp8Block and Fp8Row, for sets that leave some shapes to it.
void scalar_fp8_row_dot(const WeightRow& row, int64_t n, const Activation* tokens,
                        int64_t num_tokens, float* out) noexcept;

}  // namespace lethe::kernels
