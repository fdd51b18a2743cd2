#pragma once

#include <cstdint>

#include "quant/weight.h"

// Dot products between weights as they are stored and activations prepared once per token: the
// arithmetic of `fast`.

namespace lethe::kernels {

/// The form in which a kernel reads activations; a property of the encoding, the same in every
/// instruction set.
enum class ActivationFormat : uint8_t {
  F32,   ///< as they are
  Bf16,  ///< each rounded to bf16 (nearest even)
  Int8,  ///< quant::quantize_int8: groups of 32 codes with an f32 scale
};

/// F32 for F32; Bf16 for F16, BF16, Fp8Block, Fp8Row; Int8 for Fp4Row and all ggml blocks.
ActivationFormat activation_format(quant::Encoding encoding) noexcept;

/// One token's prepared activations, n of them. Only the fields of its format are set.
struct Activation {
  const float* f32 = nullptr;      ///< F32, and what the others are made from: [n]
  const uint16_t* bf16 = nullptr;  ///< Bf16: [n] bits
  const int8_t* codes = nullptr;   ///< Int8: [n]
  const float* scales = nullptr;   ///< Int8: [ceil(n / 32)]
  const int32_t* sums = nullptr;   ///< Int8: [2 ceil(n / 32)] sums of 16 codes
};

/// One row of a Weight.
struct WeightRow {
  const std::byte* data = nullptr;
  const std::byte* scales = nullptr;
  int32_t scale_block = 0;
  bool scales_f32 = false;
};
inline WeightRow weight_row(const quant::Weight& w, int64_t r) noexcept {
  return {w.row(r), w.scales == nullptr ? nullptr : w.scale_row(r), w.scale_block, w.scales_f32};
}

/// out[t] = dot of a weight row [n] with tokens[t], for t < num_tokens; n is the row's whole
/// length.
///
/// F32 and Bf16: the weight is decoded to f32 (exactly as quant::decode_row), products and sums are
/// f32, in 16 lanes (kernel_table.h).
/// Int8: per group of 32, the sum of code products is an exact integer S (two of 16, S0 and S1,
/// where the encoding has a scale per 16); the group's value is a * (w * S), or a * (w0 * S0 + w1 *
/// S1), minus a * (m * A) where the encoding has minima (m0 * A0 + m1 * A1 per 16), with a and w
/// the scales of activation and weight and A the sums of activation codes; f32, in the order
/// written, and groups are added in row order to one f32 sum.
using RowDot = void (*)(const WeightRow& row, int64_t n, const Activation* tokens,
                        int64_t num_tokens, float* out) noexcept;

/// out[r] = dot of rows[r] [n] with the token, for r < num_rows: each as RowDot gives it.
using RowsDot = void (*)(const WeightRow* rows, int64_t num_rows, int64_t n,
                         const Activation& token, float* out) noexcept;

}  // namespace lethe::kernels
