#pragma once

#include <span>

namespace lethe::ops {

/// Sum of squares in f32, in the order in which the library under the official implementation adds
/// a contiguous row on the CPU: 8 lanes x 4 accumulators, cascaded every 16 steps, lanes last. Any
/// order is as right; this one reproduces the last bit of the reference's norms, and with it the
/// roundings to bf16 and e4m3 that hang on it.
float reference_sum_of_squares(std::span<const float> x);

}  // namespace lethe::ops
