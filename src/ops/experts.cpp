#include "ops/experts.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lethe::ops {

namespace {

float silu(float x) {
  return x / (1.0f + std::exp(-x));
}

/// a = scale * silu(min(a, limit)) * clamp(b, -limit, limit), one rounding point.
void swiglu(const Device& device, std::span<float> a, std::span<const float> b, float limit,
            float scale) {
  for (size_t i = 0; i < a.size(); ++i) {
    const float gate = limit > 0 ? std::min(a[i], limit) : a[i];
    const float up = limit > 0 ? std::clamp(b[i], -limit, limit) : b[i];
    a[i] = silu(gate) * up * scale;
  }
  device.store_bf16(a);
}

}  // namespace

Matrix expert(const Device& device, const Matrix& x, const ExpertWeights& weights, float limit,
              std::span<const float> scales) {
  Matrix hidden = linear(device, x, weights.w1);
  const Matrix up = linear(device, x, weights.w3);
  device.for_rows(hidden.rows(), [&](int64_t t) {
    const float scale = scales.empty() ? 1.0f : scales[static_cast<size_t>(t)];
    swiglu(device, hidden.row(t), up.row(t), limit, scale);
  });
  return linear(device, hidden, weights.w2);
}

void moe_experts(const Device& device, const Matrix& x, const Routes& routes,
                 std::span<const ExpertWeights> experts, float limit, Matrix& out) {
  struct Visit {
    int64_t token;
    float weight;
  };
  std::vector<std::vector<Visit>> visits(experts.size());
  for (int64_t t = 0; t < x.rows(); ++t) {
    const std::span<const int32_t> chosen = routes.experts.row(t);
    for (size_t i = 0; i < chosen.size(); ++i) {
      visits.at(static_cast<size_t>(chosen[i])).push_back({t, routes.weights.row(t)[i]});
    }
  }
  for (size_t e = 0; e < experts.size(); ++e) {
    if (visits[e].empty() || !experts[e].w1.weight.present()) continue;
    Matrix gathered(static_cast<int64_t>(visits[e].size()), x.cols());
    std::vector<float> scales;
    for (const Visit& visit : visits[e]) {
      const std::span<const float> row = x.row(visit.token);
      std::copy(row.begin(), row.end(), gathered.row(static_cast<int64_t>(scales.size())).begin());
      scales.push_back(visit.weight);
    }
    const Matrix y = expert(device, gathered, experts[e], limit, scales);
    for (size_t i = 0; i < visits[e].size(); ++i) {
      const std::span<const float> row = y.row(static_cast<int64_t>(i));
      const std::span<float> sum = out.row(visits[e][i].token);
      for (size_t d = 0; d < sum.size(); ++d) sum[d] += row[d];
    }
  }
}

}  // namespace lethe::ops
