#pragma once

#include "kernels/kernel_table.h"

// The pieces of the NEON set, for an AArch64 CPU with the dot product instructions of ARMv8.2
// (kernel_sets.cpp joins and checks). Each is the one symbol of its translation unit, which is
// compiled with wide flags: call none of them, nor anything they install, before the check. All
// results have the scalar set's bits, but for attention.

namespace lethe::kernels {

/// dot_f32, dot_f64, fma_row_f32, fma_rows_f32, fma_row_f64.
void install_neon_dots(KernelTable& table) noexcept;
/// to_bf16, quantize_int8.
void install_neon_activations(KernelTable& table) noexcept;
/// row_dot of the encodings with F32 and Bf16 activations.
void install_neon_wide_row_dots(KernelTable& table) noexcept;
/// tile of the same.
void install_neon_f32_tile(KernelTable& table) noexcept;
/// row_dot and rows_dot of the encodings with Int8 activations.
void install_neon_int8_rows(KernelTable& table) noexcept;
/// tile of the same.
void install_neon_int8_tile(KernelTable& table) noexcept;

/// index_scores.
void install_neon_index_scores(KernelTable& table) noexcept;
/// attend.
void install_neon_attention(KernelTable& table) noexcept;

}  // namespace lethe::kernels
