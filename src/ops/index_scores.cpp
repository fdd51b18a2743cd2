#include "ops/index_scores.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/activation.h"
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

/// The keys as they lie in the store's pages, in runs.
void scores_of_stored(const Device& device, const IndexQuery& query, const IndexCodes& codes,
                      int64_t begin, int64_t end, float* out) {
  const kernels::IndexQueryCodes view = codes.view();
  for (int64_t j = begin; j < end;) {
    const int64_t run = std::min(end, query.keys->run_end(j)) - j;
    device.kernels().index_scores(view, query.keys->row(j), query.keys->row_bytes(), run,
                                  out + (j - begin));
    j += run;
  }
}

void scores_of_decoded(const Device& device, const IndexQuery& query, int64_t begin, int64_t end,
                       std::span<float> out) {
  const int64_t dim = query.codec.dim();
  RecycledVector<float> key(static_cast<size_t>(dim));
  RecycledVector<float> dots(query.weights.size());
  RecycledVector<kernels::Activation> heads(query.weights.size());
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

}  // namespace

void IndexCodes::assign(std::span<const float> q, std::span<const float> weights, int64_t dim) {
  using kernels::kIndexGroup;
  constexpr int64_t kLanes = kernels::kIndexHeadLanes;
  const auto heads = static_cast<int64_t>(weights.size());
  LETHE_CHECK(dim % kIndexGroup == 0 && dim <= kernels::kMaxIndexDim);
  LETHE_CHECK(static_cast<int64_t>(q.size()) == heads * dim);
  heads_ = (heads + kLanes - 1) / kLanes * kLanes;
  dim_ = dim;
  codes_.assign(static_cast<size_t>(heads_ * dim), 0);
  biases_.assign(static_cast<size_t>(heads_ * dim / kIndexGroup), 0);
  weights_.assign(static_cast<size_t>(heads_), 0.0f);
  std::array<int8_t, kernels::kMaxIndexDim> row{};
  const int64_t groups = dim / kIndexGroup;
  for (int64_t h = 0; h < heads; ++h) {
    const float scale = quant::quantize_int8_row(q.data() + h * dim, dim, row.data());
    weights_[static_cast<size_t>(h)] = weights[static_cast<size_t>(h)] * scale * 0.5f;
    const int64_t lane = h % kLanes;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = (h / kLanes * groups + g) * kLanes;  // of the group, in heads
      int8_t* const quads = codes_.data() + at * kIndexGroup + 4 * lane;
      int32_t sum = 0;
      for (int64_t i = 0; i < kIndexGroup / 4; ++i) {
        for (int64_t m = 0; m < 4; ++m) {
          const int8_t code =
              row[static_cast<size_t>(g * kIndexGroup + kernels::index_quad_dim(i, m))];
          quads[i * 4 * kLanes + m] = code;
          sum += code;
        }
      }
      biases_[static_cast<size_t>(at + lane)] = -kernels::kIndexKeyOffset * sum;
    }
  }
}

kernels::IndexQueryCodes IndexCodes::view() const noexcept {
  return {.heads = heads_,
          .dim = dim_,
          .codes = codes_.data(),
          .biases = biases_.data(),
          .weights = weights_.data()};
}

void index_scores(const Device& device, const IndexQuery& query, const IndexCodes& codes,
                  int64_t begin, int64_t end, std::span<float> out) {
  LETHE_CHECK(query.q.size() == query.weights.size() * static_cast<size_t>(query.codec.dim()));
  LETHE_CHECK(static_cast<int64_t>(out.size()) >= end - begin);
  if (device.numerics() == Numerics::Fast) {
    scores_of_stored(device, query, codes, begin, end, out.data());
  } else {
    scores_of_decoded(device, query, begin, end, out);
  }
}

void index_scores(const Device& device, const IndexQuery& query, int64_t begin, int64_t end,
                  std::span<float> out) {
  IndexCodes codes;
  if (device.numerics() == Numerics::Fast) {
    codes.assign(query.q, query.weights, query.codec.dim());
  }
  index_scores(device, query, codes, begin, end, out);
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
