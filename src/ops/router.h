#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "ops/device.h"
#include "ops/linear.h"

namespace lethe::ops {

/// The experts of each token and their weights.
struct Routes {
  IndexMatrix experts;  // [tokens, k]: best first, or in table order
  Matrix weights;       // [tokens, k] f32
  Matrix selection;     // [tokens, experts]: scores with bias, for traces
};

/// How affinities become scores. sqrtsoftplus is what V4 uses.
enum class ScoringFunction : uint8_t { SqrtSoftplus, Sigmoid, Softmax };
ScoringFunction parse_scoring_function(std::string_view name);  ///< Throws LoadError.

struct RouterParams {
  Linear gate;  // [experts, dim], role F32
  ScoringFunction scoring = ScoringFunction::SqrtSoftplus;
  std::span<const float> bias;  // [experts], for the selection only; empty if routed by table
  int64_t k = 0;
  bool normalize = true;
  float scale = 1;        ///< routed_scaling_factor
  float temperature = 1;  ///< divides the affinities (gate_temp)
};

/// Chooses the k experts of each token: by score plus bias (ties: lower id), or, where `table_rows`
/// is not empty, those it lists ([tokens, k], hash layers). Weights are the unbiased scores of the
/// chosen, divided by their sum, times scale. All f32. Source: spec V4 4.5, V4.1 4.4.
Routes route(const Device& device, const Matrix& x, const RouterParams& params,
             const IndexMatrix* table_rows);

}  // namespace lethe::ops
