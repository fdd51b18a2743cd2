#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/model_config.h"

// The equations of the model, one function each, in double precision and without any quantization:
// what a reader holds beside the paper, and what the fast path is tested against.
// Sections are of spec/deepseek-v4.1.md.

namespace lethe::model::reference {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  ///< [tokens][dim]

struct Matrix {
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;  ///< [rows, cols], exactly decoded
  std::span<const float> row(int64_t r) const {
    return {values.data() + r * cols, static_cast<size_t>(cols)};
  }
};

double dot(std::span<const float> w, std::span<const double> x);
/// W x for rows [begin, begin + count) of W.
Row linear(const Matrix& w, std::span<const double> x, int64_t begin, int64_t count);
Row linear(const Matrix& w, std::span<const double> x);
Rows linear(const Matrix& w, const Rows& x);

/// RMS: x * rsqrt(mean(x^2) + eps) * w. Section 3.
Row rms_norm(std::span<const double> x, std::span<const float> w, double eps);

/// Angles per position of a RoPE table. Section 3.
struct RopeTable {
  std::vector<float> frequencies;  ///< [rope_dim / 2]
};
/// theta^(-2i/rope_dim), stretched by YaRN where it has an original context length.
RopeTable make_rope_table(double theta, int64_t rope_dim, const YarnConfig& yarn);
/// Rotates adjacent pairs of the last 2 * frequencies.size() values of x; backwards if `inverse`.
void rope(std::span<double> x, int64_t position, const RopeTable& table, bool inverse = false);

/// Hyper-connection coefficients of one token. Section 4, MIX.
struct Mix {
  Row pre, post;  ///< [hc]
  Rows comb;      ///< [hc][hc]: old copy j to new copy k
};
Mix hyper_mix(const Rows& h, const Matrix& fn, std::span<const float> scale,
              std::span<const float> base, const ModelConfig& config);
/// Sum over copies of pre[c] * h[c].
Row collapse(std::span<const double> pre, const Rows& h);
/// h'[k] = post[k] * y + sum_j comb[j][k] * h[j].
Rows post_mix(const Row& y, const Rows& h, const Mix& mix);

/// Softmax attention of one head with a sink, keys being values. Section 4.1.
Row sink_attention(std::span<const double> q, const std::vector<const Row*>& keys, double scale,
                   double sink);

/// Indices of the k largest, ties to the lower index, in falling order; -infinity never counts.
std::vector<int64_t> top_k(std::span<const double> scores, int64_t k);

double sigmoid(double x);
double silu(double x);
double softplus(double x);  ///< linear above 20, as torch

}  // namespace lethe::model::reference
