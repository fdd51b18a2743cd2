#pragma once

#include <span>

#include "ops/device.h"
#include "ops/linear.h"
#include "ops/router.h"

namespace lethe::ops {

/// One feed-forward expert: down(silu(gate) * up).
struct ExpertWeights {
  Linear w1;  // gate [width, dim]
  Linear w3;  // up   [width, dim]
  Linear w2;  // down [dim, width]
};

/// y = w2( scale_t * silu(a) * b ), a = min(w1 x, limit), b = clamp(w3 x, -limit, limit); the
/// routing weight `scales[t]` multiplies before the rounding in front of w2. limit <= 0: no clamp;
/// empty scales: 1. x: [tokens, dim]. Source: spec V4 4.5, V4.1 4.4.
Matrix expert(const Device& device, const Matrix& x, const ExpertWeights& weights, float limit,
              std::span<const float> scales);

/// The experts of a layer.
struct ExpertLayer {
  std::span<const ExpertWeights> routed;
  float limit = 0;
  const ExpertWeights* shared = nullptr;  ///< of all tokens, with scale 1; null: none
  float shared_limit = 0;
};

/// Adds to out[t] the outputs of the routed experts of each token, in ascending expert id, and then
/// that of the shared one, f32. Tokens are grouped by expert, each expert's weights are read once,
/// and all experts together are two parallel regions: one for w1 and w3, one for w2.
void moe_experts(const Device& device, const Matrix& x, const Routes& routes,
                 const ExpertLayer& layer, Matrix& out);

}  // namespace lethe::ops
