#pragma once

#include "ops/device.h"
#include "ops/matrix.h"
#include "quant/weight.h"

namespace lethe::ops {

/// What the reference does around a matrix product; it decides the rounding, never the encoding.
enum class LinearRole : uint8_t {
  Fp8,         ///< activations quantized to e4m3 per group before the product, bf16 result
  Bf16,        ///< bf16 activations, bf16 result
  F32,         ///< f32 in, f32 out, f32 activations in `fast` too (gates, hyper-connections)
  Compressor,  ///< f32 in, f32 out; `fast` narrows the activations of bf16 weights to bf16 where
               ///< the kernels multiply those faster
  Head,  ///< f32 result, unrounded (the LM head and its like); `fast` may narrow the activations
};

/// A weight matrix with the role that it plays.
struct Linear {
  quant::Weight weight;  // [out, in]
  LinearRole role = LinearRole::Bf16;
  int64_t activation_group = 128;  ///< of the e4m3 activation quantizer, Fp8 only

  int64_t out_features() const noexcept { return weight.rows; }
  int64_t in_features() const noexcept { return weight.cols; }
};

/// y = x W^T. x: [tokens, in], returns [tokens, out]. Each output is one dot product over `in` in a
/// fixed order, so it depends on its own row of x and of W only.
/// Rounding: `official`: Fp8 quantizes x (spec V4 section 3 actq128, V4.1 ACT8); products and sums
/// in f64; result rounded to bf16 (Fp8, Bf16) or f32. `f32`: f32 products and sums over decoded
/// weights. `fast`: x in the format that the encoding's kernel wants (kernels/kernel_table.h),
/// except for F32.
Matrix linear(const Device& device, const Matrix& x, const Linear& w);

/// Block-diagonal product of the grouped output projection (spec V4 4.2 step 8): x: [tokens,
/// groups * in], w: [groups * r, in]; group g of the result is rows g*r.. of w times group g of x.
Matrix grouped_linear(const Device& device, const Matrix& x, const Linear& w, int64_t groups);

}  // namespace lethe::ops
