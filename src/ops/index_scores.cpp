#include "ops/index_scores.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/rounding.h"

namespace lethe::ops {

namespace {

/// dots: room for one number per head.
float score_f32(const Device& device, const IndexQuery& query,
                std::span<const kernels::Activation> heads, const float* key, int64_t dim,
                std::span<float> dots) {
  const kernels::WeightRow row{.data = reinterpret_cast<const std::byte*>(key)};
  device.kernels().row_dot[static_cast<size_t>(quant::Encoding::F32)](
      row, dim, heads.data(), static_cast<int64_t>(heads.size()), dots.data());
  float sum = 0;
  for (size_t h = 0; h < query.weights.size(); ++h) {
    sum += query.weights[h] * std::max(0.0f, dots[h]);
  }
  return sum;
}

float score_official(const Device& device, const IndexQuery& query, const float* key, int64_t dim) {
  double sum = 0;
  for (size_t h = 0; h < query.weights.size(); ++h) {
    const float* head = query.q.data() + static_cast<int64_t>(h) * dim;
    const float dot = round_to_bf16(static_cast<float>(device.kernels().dot_f64(head, key, dim)));
    sum += static_cast<double>(round_to_bf16(std::max(0.0f, dot) * query.weights[h]));
  }
  return round_to_bf16(static_cast<float>(sum));
}

}  // namespace

void index_scores(const Device& device, const IndexQuery& query, int64_t begin, int64_t end,
                  std::span<float> out) {
  const int64_t dim = query.codec.dim();
  LETHE_CHECK(query.q.size() == query.weights.size() * static_cast<size_t>(dim));
  std::vector<float> key(static_cast<size_t>(dim));
  std::vector<float> dots(query.weights.size());
  std::vector<kernels::Activation> heads(query.weights.size());
  for (size_t h = 0; h < heads.size(); ++h) {
    heads[h].f32 = query.q.data() + static_cast<int64_t>(h) * dim;
  }
  for (int64_t j = begin; j < end; ++j) {
    query.codec.decode(query.keys->row(j), key.data());
    out[static_cast<size_t>(j - begin)] =
        device.official() ? score_official(device, query, key.data(), dim)
                          : score_f32(device, query, heads, key.data(), dim, dots);
  }
}

Matrix index_head_weights(const Device& device, const Matrix& x, const Linear& weights_proj,
                          int64_t dim) {
  Matrix w = linear(device, x, weights_proj);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)) /
                                        std::sqrt(static_cast<double>(w.cols())));
  for (float& value : w.values()) value *= scale;
  device.store_bf16(w);
  return w;
}

}  // namespace lethe::ops
