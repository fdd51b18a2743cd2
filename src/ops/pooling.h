#pragma once

#include <span>

#include "ops/device.h"

namespace lethe::ops {

/// One token's contribution to a compressed entry: value and gate logit of each channel.
struct PoolRow {
  const float* value = nullptr;  // [dim]
  const float* gate = nullptr;   // [dim]
};

/// out[c] = sum_i softmax_i(gate_i[c]) * value_i[c]: a softmax over the rows for every channel on
/// its own, f32. Source: spec V4 4.3, V4.1 4.2. out: [dim]; rows non-empty.
void softmax_pool(std::span<const PoolRow> rows, std::span<float> out);

/// Walsh-Hadamard transform in natural (Sylvester) order, f32 butterflies, times n^-1/2, one
/// rounding point; in place. x.size() must be a power of two. Source: spec V4 section 3.
void hadamard(const Device& device, std::span<float> x);

}  // namespace lethe::ops
