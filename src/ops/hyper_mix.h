#pragma once

#include <span>

#include "ops/device.h"
#include "ops/linear.h"

namespace lethe::ops {

/// Parameters of the map from the residual streams to mixing coefficients.
struct HyperMixParams {
  Linear fn;                     // f32 [(2 + m) * m, m * dim], or [m, m * dim] for a head
  std::span<const float> base;   // [fn rows]
  std::span<const float> scale;  // [3] (pre, post, comb), or [1] for a head
  int64_t streams = 0;           // m = hc_mult
  int64_t sinkhorn_iterations = 0;
  double norm_eps = 0;
  double hc_eps = 0;
};

/// Coefficients of a batch, f32.
struct HyperMix {
  Matrix pre;   // [tokens, m]: weights of the streams in the sublayer's input
  Matrix post;  // [tokens, m]: weight of the sublayer's output in each new stream
  Matrix comb;  // [tokens, m * m]: [old stream j][new stream k], doubly stochastic
};

/// The coefficients from the streams. streams: [tokens, m * dim], stream-major. All f32, no
/// rounding. Source: spec V4 4.1 hc_pre, V4.1 section 4 MIX.
HyperMix hyper_mix(const Device& device, const Matrix& streams, const HyperMixParams& params);

/// V4's output head: only `pre`. Source: spec V4 4.1 hc_head.
Matrix hyper_head_mix(const Device& device, const Matrix& streams, const HyperMixParams& params);

/// x = sum_j pre_j * stream_j, one rounding point. pre: [tokens, m]; returns [tokens, dim].
Matrix hyper_collapse(const Device& device, const Matrix& streams, const Matrix& pre);

/// new stream_k = post_k * y + sum_j comb[j][k] * stream_j, one rounding point, in place.
/// y: [tokens, dim]. Source: spec V4 4.1 hc_post, V4.1 section 4 POST.
void hyper_expand(const Device& device, Matrix& streams, const Matrix& y, const HyperMix& mix);

}  // namespace lethe::ops
