#include "model/reference/reference_math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

namespace lethe::model::reference {

double dot(std::span<const float> w, std::span<const double> x) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += double{w[i]} * x[i];
  return sum;
}

Row linear(const Matrix& w, std::span<const double> x, int64_t begin, int64_t count) {
  Row y(static_cast<size_t>(count));
  for (int64_t r = 0; r < count; ++r) y[static_cast<size_t>(r)] = dot(w.row(begin + r), x);
  return y;
}

Row linear(const Matrix& w, std::span<const double> x) {
  return linear(w, x, 0, w.rows);
}

Rows linear(const Matrix& w, const Rows& x) {
  Rows y;
  for (const Row& row : x) y.push_back(linear(w, row));
  return y;
}

Row rms_norm(std::span<const double> x, std::span<const float> w, double eps) {
  double squares = 0;
  for (const double v : x) squares += v * v;
  const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * inverse * double{w[i]};
  return y;
}

RopeTable make_rope_table(double theta, int64_t rope_dim, const YarnConfig& yarn) {
  const auto dim = static_cast<float>(rope_dim);
  const double original = static_cast<double>(yarn.original_max_position_embeddings);
  const auto turn = [&](double n) {
    return static_cast<double>(rope_dim) * std::log(original / (2 * std::numbers::pi * n)) /
           (2 * std::log(theta));
  };
  RopeTable table;
  for (int64_t i = 0; i < rope_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / dim;
    float f = 1.0f / static_cast<float>(std::pow(theta, double{exponent}));
    if (original > 0) {
      const double low = std::max(std::floor(turn(yarn.beta_fast)), 0.0);
      const double high =
          std::min(std::ceil(turn(yarn.beta_slow)), static_cast<double>(rope_dim - 1));
      const auto span = static_cast<float>(std::max(high - low, 1e-3));
      const float ramp =
          std::clamp((static_cast<float>(i) - static_cast<float>(low)) / span, 0.0f, 1.0f);
      f = f / static_cast<float>(yarn.factor) * ramp + f * (1 - ramp);
    }
    table.frequencies.push_back(f);
  }
  return table;
}

void rope(std::span<double> x, int64_t position, const RopeTable& table, bool inverse) {
  double* tail = x.data() + x.size() - 2 * table.frequencies.size();
  for (size_t i = 0; i < table.frequencies.size(); ++i) {
    const float angle = static_cast<float>(position) * table.frequencies[i];
    const double c = std::cos(double{angle});
    const double s = inverse ? -std::sin(double{angle}) : std::sin(double{angle});
    const double a = tail[2 * i];
    const double b = tail[2 * i + 1];
    tail[2 * i] = a * c - b * s;
    tail[2 * i + 1] = a * s + b * c;
  }
}

namespace {

/// Sinkhorn: alternately divides rows and columns by their sums.
void sinkhorn(Rows& m, int64_t iterations, double eps) {
  const size_t n = m.size();
  const auto divide_columns = [&] {
    for (size_t k = 0; k < n; ++k) {
      double sum = eps;
      for (size_t j = 0; j < n; ++j) sum += m[j][k];
      for (size_t j = 0; j < n; ++j) m[j][k] /= sum;
    }
  };
  divide_columns();
  for (int64_t i = 1; i < iterations; ++i) {
    for (Row& row : m) {
      const double sum = std::accumulate(row.begin(), row.end(), eps);
      for (double& v : row) v /= sum;
    }
    divide_columns();
  }
}

void softmax_plus(Row& row, double eps) {
  const double max = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (double& v : row) sum += v = std::exp(v - max);
  for (double& v : row) v = v / sum + eps;
}

}  // namespace

Mix hyper_mix(const Rows& h, const Matrix& fn, std::span<const float> scale,
              std::span<const float> base, const ModelConfig& config) {
  const size_t hc = h.size();
  Row x;
  for (const Row& copy : h) x.insert(x.end(), copy.begin(), copy.end());
  double squares = 0;
  for (const double v : x) squares += v * v;
  const double rho = 1 / std::sqrt(squares / static_cast<double>(x.size()) + config.rms_norm_eps);
  Row m = linear(fn, x);
  for (double& v : m) v *= rho;

  const auto at = [&](size_t i, size_t s) { return m[i] * double{scale[s]} + double{base[i]}; };
  Mix mix;
  for (size_t j = 0; j < hc; ++j) {
    mix.pre.push_back(sigmoid(at(j, 0)) + config.hc_eps);
    mix.post.push_back(2 * sigmoid(at(hc + j, 1)));
    Row row;
    for (size_t k = 0; k < hc; ++k) row.push_back(at(2 * hc + hc * j + k, 2));
    softmax_plus(row, config.hc_eps);
    mix.comb.push_back(row);
  }
  sinkhorn(mix.comb, config.hc_sinkhorn_iters, config.hc_eps);
  return mix;
}

Row collapse(std::span<const double> pre, const Rows& h) {
  Row y(h[0].size(), 0.0);
  for (size_t c = 0; c < h.size(); ++c) {
    for (size_t d = 0; d < y.size(); ++d) y[d] += pre[c] * h[c][d];
  }
  return y;
}

Rows post_mix(const Row& y, const Rows& h, const Mix& mix) {
  Rows result(h.size(), Row(y.size()));
  for (size_t k = 0; k < h.size(); ++k) {
    for (size_t d = 0; d < y.size(); ++d) {
      double sum = mix.post[k] * y[d];
      for (size_t j = 0; j < h.size(); ++j) sum += mix.comb[j][k] * h[j][d];
      result[k][d] = sum;
    }
  }
  return result;
}

Row sink_attention(std::span<const double> q, const std::vector<const Row*>& keys, double scale,
                   double sink) {
  Row scores;
  for (const Row* key : keys) {
    scores.push_back(scale * std::inner_product(q.begin(), q.end(), key->begin(), 0.0));
  }
  double max = sink;
  for (const double s : scores) max = std::max(max, s);
  double denominator = std::exp(sink - max);
  Row o(q.size(), 0.0);
  for (size_t i = 0; i < keys.size(); ++i) {
    const double p = std::exp(scores[i] - max);
    denominator += p;
    for (size_t d = 0; d < o.size(); ++d) o[d] += p * (*keys[i])[d];
  }
  for (double& v : o) v /= denominator;
  return o;
}

std::vector<int64_t> top_k(std::span<const double> scores, int64_t k) {
  std::vector<int64_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > -std::numeric_limits<double>::infinity()) {
      order.push_back(static_cast<int64_t>(i));
    }
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  if (static_cast<int64_t>(order.size()) > k) order.resize(static_cast<size_t>(k));
  return order;
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
double silu(double x) {
  return x * sigmoid(x);
}
double softplus(double x) {
  return x > 20 ? x : std::log1p(std::exp(x));
}

}  // namespace lethe::model::reference
