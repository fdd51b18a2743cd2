#include "ops/router.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "ops/profile.h"
#include "ops/top_k.h"

namespace lethe::ops {

namespace {

/// Linear above 20, as the reference's library has it.
float softplus(float x) {
  return x > 20.0f ? x : std::log1p(std::exp(x));
}

void softmax(std::span<float> row) {
  const float largest = *std::max_element(row.begin(), row.end());
  float sum = 0;
  for (float& value : row) sum += value = std::exp(value - largest);
  for (float& value : row) value /= sum;
}

void score(std::span<float> row, const RouterParams& params) {
  for (float& value : row) value /= params.temperature;
  switch (params.scoring) {
    case ScoringFunction::SqrtSoftplus:
      for (float& value : row) value = std::sqrt(softplus(value));
      break;
    case ScoringFunction::Sigmoid:
      for (float& value : row) value = 1.0f / (1.0f + std::exp(-value));
      break;
    case ScoringFunction::Softmax:
      softmax(row);
      break;
  }
}

/// Weights of the chosen experts from their unbiased scores.
void weigh(std::span<const float> scores, std::span<const int32_t> chosen,
           const RouterParams& params, std::span<float> weights) {
  float sum = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    weights[i] = scores[static_cast<size_t>(chosen[i])];
    sum += weights[i];
  }
  const bool normalize = params.normalize && chosen.size() > 1;
  for (float& weight : weights) {
    if (normalize) weight /= sum + 1e-20f;
    weight *= params.scale;
  }
}

}  // namespace

ScoringFunction parse_scoring_function(std::string_view name) {
  if (name == "sqrtsoftplus") return ScoringFunction::SqrtSoftplus;
  if (name == "sigmoid") return ScoringFunction::Sigmoid;
  if (name == "softmax") return ScoringFunction::Softmax;
  throw LoadError("scoring_func \"{}\" is unknown; expected sqrtsoftplus, sigmoid or softmax",
                  name);
}

Routes route(const Device& device, const Matrix& x, const RouterParams& params,
             const IndexMatrix* table_rows) {
  ProfileScope profile(device, Part::Router);
  profile.read(params.gate);
  const Matrix affinities = linear(device, x, params.gate);
  Routes routes{IndexMatrix(x.rows(), params.k), Matrix(x.rows(), params.k), affinities};
  device.for_rows(x.rows(), [&](int64_t t) {
    const std::span<float> selection = routes.selection.row(t);
    score(selection, params);
    const RecycledVector<float> scores(selection.begin(), selection.end());
    const std::span<int32_t> chosen = routes.experts.row(t);
    if (table_rows != nullptr) {
      const std::span<const int32_t> row = table_rows->row(t);
      std::copy(row.begin(), row.end(), chosen.begin());
    } else {
      for (size_t e = 0; e < params.bias.size(); ++e) selection[e] += params.bias[e];
      if (top_k(selection, params.k, chosen) != params.k) {
        throw Error(
            "the router's scores of a token are not finite: the weights or the activations "
            "of this model hold NaN or infinity (`lethe inspect --check` finds the tensor)");
      }
    }
    weigh(scores, chosen, params, routes.weights.row(t));
  });
  return routes;
}

}  // namespace lethe::ops
