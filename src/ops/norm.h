#pragma once

#include <span>

#include "ops/device.h"

namespace lethe::ops {

/// y = weight * x / sqrt(mean(x^2) + eps), per row of `cols` values. weight: f32 [cols]. Sums in
/// f32 (`official`: ops/reference_sum.h); one rounding point at the store. In place.
/// Source: spec V4 section 3 `rms`, V4.1 section 3 `RMS`.
void rms_norm(const Device& device, Matrix& x, std::span<const float> weight, double eps);
/// One row (compressor entries, index keys).
void rms_norm_row(const Device& device, std::span<float> x, std::span<const float> weight,
                  double eps);

/// V4's weightless norm of a query head: x *= 1/sqrt(mean(x^2) + eps). `official` rounds each step
/// to bf16 (spec V4 section 6). In place.
void head_rms_norm(const Device& device, std::span<float> head, double eps);

/// 1 / sqrt(mean(x^2) + eps), f32, without rounding points (hyper-connections, Engram).
float inverse_rms(const Device& device, std::span<const float> x, double eps);

}  // namespace lethe::ops
