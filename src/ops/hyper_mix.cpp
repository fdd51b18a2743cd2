#include "ops/hyper_mix.h"

#include <algorithm>
#include <cmath>

#include "ops/few_rows.h"
#include "ops/norm.h"
#include "ops/profile.h"
#include "tensor/integers.h"

namespace lethe::ops {

namespace {

float sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}

/// body(t, mix) for each token: mix = (fn . streams) * rsqrt(mean(streams^2) + eps), [fn rows].
template <typename Body>
void for_mixes(const Device& device, const Matrix& streams, const HyperMixParams& params,
               Body body) {
  const int64_t tokens = streams.rows();
  const auto finish = [&](int64_t t, std::span<float> mix) {
    const float scale = inverse_rms(device, streams.row(t), params.norm_eps);
    for (float& value : mix) value *= scale;
    body(t, mix);
  };
  if (!FewRows::takes(device, params.fn, tokens)) {
    Matrix mix = linear(device, streams, params.fn);
    device.for_rows(tokens, [&](int64_t t) { finish(t, mix.row(t)); });
    return;
  }
  // Streams are long, so they are read once: what is done with some tokens is done at once.
  const FewRows fn(device, params.fn);
  Matrix mix = Matrix::unset(tokens, params.fn.out_features());
  constexpr int64_t kTokens = kernels::kFewRowsTokens;
  device.for_rows(ceil_div(tokens, kTokens), [&](int64_t piece) {
    const int64_t begin = piece * kTokens;
    const int64_t end = std::min(begin + kTokens, tokens);
    fn.multiply(streams, begin, end, mix);
    for (int64_t t = begin; t < end; ++t) finish(t, mix.row(t));
  });
}

void divide_rows(std::span<float> c, int64_t m, float eps) {
  for (int64_t j = 0; j < m; ++j) {
    const auto row = c.subspan(static_cast<size_t>(j * m), static_cast<size_t>(m));
    float sum = 0;
    for (const float value : row) sum += value;
    for (float& value : row) value /= sum + eps;
  }
}

void divide_columns(std::span<float> c, int64_t m, float eps) {
  for (int64_t k = 0; k < m; ++k) {
    float sum = 0;
    for (int64_t j = 0; j < m; ++j) sum += c[static_cast<size_t>(j * m + k)];
    for (int64_t j = 0; j < m; ++j) c[static_cast<size_t>(j * m + k)] /= sum + eps;
  }
}

/// Rows by softmax, then alternating normalization, ending on a column step.
void sinkhorn(std::span<float> c, int64_t m, int64_t iterations, float eps) {
  for (int64_t j = 0; j < m; ++j) {
    const auto row = c.subspan(static_cast<size_t>(j * m), static_cast<size_t>(m));
    const float largest = *std::max_element(row.begin(), row.end());
    float sum = 0;
    for (float& value : row) sum += value = std::exp(value - largest);
    for (float& value : row) value = value / sum + eps;
  }
  divide_columns(c, m, eps);
  for (int64_t i = 1; i < iterations; ++i) {
    divide_rows(c, m, eps);
    divide_columns(c, m, eps);
  }
}

}  // namespace

HyperMix hyper_mix(const Device& device, const Matrix& streams, const HyperMixParams& params) {
  ProfileScope profile(device, Part::Mixing);
  profile.read(params.fn);
  const int64_t m = params.streams;
  const auto eps = static_cast<float>(params.hc_eps);
  const int64_t tokens = streams.rows();
  HyperMix out{Matrix(tokens, m), Matrix(tokens, m), Matrix(tokens, m * m)};
  for_mixes(device, streams, params, [&](int64_t t, std::span<const float> in) {
    const auto scaled = [&](int64_t i, size_t which) {
      const auto at = static_cast<size_t>(i);
      return in[at] * params.scale[which] + params.base[at];
    };
    for (int64_t j = 0; j < m; ++j) {
      const auto at = static_cast<size_t>(j);
      out.pre.row(t)[at] = sigmoid(scaled(j, 0)) + eps;
      out.post.row(t)[at] = 2.0f * sigmoid(scaled(m + j, 1));
    }
    for (int64_t i = 0; i < m * m; ++i) {
      out.comb.row(t)[static_cast<size_t>(i)] = scaled(2 * m + i, 2);
    }
    sinkhorn(out.comb.row(t), m, params.sinkhorn_iterations, eps);
  });
  return out;
}

Matrix hyper_head_mix(const Device& device, const Matrix& streams, const HyperMixParams& params) {
  ProfileScope profile(device, Part::Mixing);
  profile.read(params.fn);
  Matrix pre = Matrix::unset(streams.rows(), params.fn.out_features());
  for_mixes(device, streams, params, [&](int64_t t, std::span<const float> mix) {
    const std::span<float> row = pre.row(t);
    for (size_t j = 0; j < row.size(); ++j) {
      row[j] =
          sigmoid(mix[j] * params.scale[0] + params.base[j]) + static_cast<float>(params.hc_eps);
    }
  });
  return pre;
}

Matrix hyper_collapse(const Device& device, const Matrix& streams, const Matrix& pre) {
  const ProfileScope profile(device, Part::Mixing);
  const int64_t m = pre.cols();
  Matrix x = Matrix::unset(streams.rows(), streams.cols() / m);
  device.for_rows(x.rows(), [&](int64_t t) {
    const std::span<float> out = x.row(t);
    std::ranges::fill(out, 0.0f);
    device.kernels().fma_rows_f32(out.data(), streams.row(t).data(), pre.row(t).data(), m,
                                  x.cols());
    device.store_bf16(out);
  });
  return x;
}

void hyper_expand(const Device& device, Matrix& streams, const Matrix& y, const HyperMix& mix) {
  const ProfileScope profile(device, Part::Mixing);
  const int64_t m = mix.post.cols();
  const int64_t dim = y.cols();
  device.for_rows(y.rows(), [&](int64_t t) {
    RecycledArray<float> room(static_cast<size_t>(m * dim + m), Unset());
    const std::span<float> next = std::span(room).first(static_cast<size_t>(m * dim));
    const std::span<float> weights = std::span(room).last(static_cast<size_t>(m));
    const std::span<const float> comb = mix.comb.row(t);
    for (int64_t k = 0; k < m; ++k) {
      const std::span<float> out(next.data() + k * dim, static_cast<size_t>(dim));
      const float post = mix.post.row(t)[static_cast<size_t>(k)];
      const std::span<const float> in = y.row(t);
      for (size_t d = 0; d < out.size(); ++d) out[d] = post * in[d];
      for (int64_t j = 0; j < m; ++j) {
        weights[static_cast<size_t>(j)] = comb[static_cast<size_t>(j * m + k)];
      }
      device.kernels().fma_rows_f32(out.data(), streams.row(t).data(), weights.data(), m, dim);
    }
    device.store_bf16(next);
    std::copy(next.begin(), next.end(), streams.row(t).begin());
  });
}

}  // namespace lethe::ops
