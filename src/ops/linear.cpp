#include "ops/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/activation_batch.h"
#include "quant/activation.h"

namespace lethe::ops {

namespace {

/// Rows [begin, end) of a weight times a column range of every token.
struct Product {
  const Matrix& x;
  int64_t x_column = 0;
  const Linear& w;
  int64_t row_begin = 0;
  int64_t row_end = 0;
  Matrix& out;  // column r of out = row r of w
};

/// Weight rows that one piece of work takes: enough to amortize handing it out.
int64_t rows_per_piece(const Product& p) {
  constexpr int64_t kWorkPerPiece = 1 << 16;  // multiply-adds
  const int64_t per_row = std::max<int64_t>(1, p.w.weight.cols * p.x.rows());
  return std::clamp<int64_t>(kWorkPerPiece / per_row, 1, 64);
}

/// Decodes each weight row once and takes its dot product with every token.
void multiply_decoded(const Device& device, const Product& p) {
  const int64_t n = p.w.weight.cols;
  const auto& kernels = device.kernels();
  device.team().parallel_for(
      p.row_end - p.row_begin, rows_per_piece(p), [&](int64_t begin, int64_t end) {
        std::vector<float> row(static_cast<size_t>(n));
        for (int64_t r = p.row_begin + begin; r < p.row_begin + end; ++r) {
          quant::decode_row(p.w.weight, r, row.data());
          for (int64_t t = 0; t < p.x.rows(); ++t) {
            const float* token = p.x.row(t).data() + p.x_column;
            p.out.row(t)[static_cast<size_t>(r)] =
                device.official() ? static_cast<float>(kernels.dot_f64(row.data(), token, n))
                                  : kernels.dot_f32(row.data(), token, n);
          }
        }
      });
}

/// Dots of the rows as they are stored with activations in the form their kernel reads.
void multiply_stored(const Device& device, const Product& p) {
  const quant::Weight& weight = p.w.weight;
  const kernels::ActivationBatch tokens(kernels::activation_format(weight.encoding),
                                        p.x.values().data() + p.x_column, p.x.rows(), weight.cols,
                                        p.x.cols());
  const kernels::RowDot row_dot = device.kernels().row_dot[static_cast<size_t>(weight.encoding)];
  device.team().parallel_for(
      p.row_end - p.row_begin, rows_per_piece(p), [&](int64_t begin, int64_t end) {
        std::vector<float> dots(static_cast<size_t>(p.x.rows()));
        for (int64_t r = p.row_begin + begin; r < p.row_begin + end; ++r) {
          row_dot(kernels::weight_row(weight, r), weight.cols, tokens.data(), tokens.size(),
                  dots.data());
          for (int64_t t = 0; t < p.x.rows(); ++t) {
            p.out.row(t)[static_cast<size_t>(r)] = dots[static_cast<size_t>(t)];
          }
        }
      });
}

void multiply(const Device& device, const Product& p) {
  if (p.x.rows() == 0) return;
  if (device.numerics() == Numerics::Fast && p.w.role != LinearRole::F32) {
    multiply_stored(device, p);
  } else {
    multiply_decoded(device, p);
  }
}

/// The activations as the role's rounding points demand, before the product.
Matrix quantized(const Device& device, const Matrix& x, const Linear& w) {
  Matrix q = x;
  device.for_rows(q.rows(), [&](int64_t t) {
    quant::fake_quantize_fp8(q.row(t).data(), q.cols(), w.activation_group);
  });
  return q;
}

void store(const Device& device, const Linear& w, Matrix& y) {
  if (w.role == LinearRole::Fp8 || w.role == LinearRole::Bf16) device.store_bf16(y);
}

}  // namespace

Matrix linear(const Device& device, const Matrix& x, const Linear& w) {
  LETHE_CHECK(x.cols() == w.in_features(), "{} columns for a weight of {}", x.cols(),
              w.in_features());
  Matrix y(x.rows(), w.out_features());
  if (device.official() && w.role == LinearRole::Fp8) {
    const Matrix q = quantized(device, x, w);
    multiply(device, {.x = q, .w = w, .row_end = y.cols(), .out = y});
  } else {
    multiply(device, {.x = x, .w = w, .row_end = y.cols(), .out = y});
  }
  store(device, w, y);
  return y;
}

Matrix grouped_linear(const Device& device, const Matrix& x, const Linear& w, int64_t groups) {
  LETHE_CHECK(x.cols() == groups * w.in_features() && w.out_features() % groups == 0);
  Matrix y(x.rows(), w.out_features());
  const int64_t rows = w.out_features() / groups;
  for (int64_t g = 0; g < groups; ++g) {
    multiply(device, {.x = x,
                      .x_column = g * w.in_features(),
                      .w = w,
                      .row_begin = g * rows,
                      .row_end = (g + 1) * rows,
                      .out = y});
  }
  store(device, w, y);
  return y;
}

}  // namespace lethe::ops
