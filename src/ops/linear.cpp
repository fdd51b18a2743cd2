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

// Rows and tokens are taken in blocks that the caches hold: the weights of a piece while tokens
// pass by, the activations of a token block while rows do. An output is one dot product either way.
constexpr int64_t kTokenBlock = 16;
constexpr int64_t kRowBlock = 16;  // of a piece, if there are many tokens

/// Weight rows that one piece of work takes: enough to amortize handing it out, few enough that
/// there are pieces for all.
int64_t rows_per_piece(const Device& device, const Product& p) {
  constexpr int64_t kWorkPerPiece = 1 << 16;  // multiply-adds
  constexpr int64_t kPiecesPerThread = 4;
  const int64_t per_row = std::max<int64_t>(1, p.w.weight.cols * p.x.rows());
  const int64_t share =
      (p.row_end - p.row_begin) / (kPiecesPerThread * int64_t{device.team().size()});
  const int64_t least = std::clamp<int64_t>(share, 1, std::min(kRowBlock, p.x.rows()));
  return std::clamp<int64_t>(kWorkPerPiece / per_row, least, 64);
}

/// out[t][r] for the tokens of a batch and rows [begin, end) of the weight; row_of(r) is what
/// `row_dot` reads.
template <typename RowOf>
void multiply_rows(const Product& p, kernels::RowDot row_dot,
                   const kernels::ActivationBatch& tokens, int64_t begin, int64_t end,
                   RowOf row_of) {
  float dots[kTokenBlock];
  for (int64_t first = 0; first < tokens.size(); first += kTokenBlock) {
    const int64_t count = std::min(kTokenBlock, tokens.size() - first);
    for (int64_t r = begin; r < end; ++r) {
      row_dot(row_of(r), p.w.weight.cols, tokens.data() + first, count, dots);
      for (int64_t t = 0; t < count; ++t) p.out.row(first + t)[static_cast<size_t>(r)] = dots[t];
    }
  }
}

/// `official`: each weight row decoded once, dot products in f64.
void multiply_official(const Device& device, const Product& p) {
  const int64_t n = p.w.weight.cols;
  const auto& kernels = device.kernels();
  device.team().parallel_for(p.row_end - p.row_begin, rows_per_piece(device, p),
                             [&](int64_t begin, int64_t end) {
                               std::vector<float> row(static_cast<size_t>(n));
                               for (int64_t r = p.row_begin + begin; r < p.row_begin + end; ++r) {
                                 quant::decode_row(p.w.weight, r, row.data());
                                 for (int64_t t = 0; t < p.x.rows(); ++t) {
                                   const float* token = p.x.row(t).data() + p.x_column;
                                   p.out.row(t)[static_cast<size_t>(r)] =
                                       static_cast<float>(kernels.dot_f64(row.data(), token, n));
                                 }
                               }
                             });
}

kernels::ActivationBatch activations(const Product& p, kernels::ActivationFormat format) {
  return {format, p.x.values().data() + p.x_column, p.x.rows(), p.w.weight.cols, p.x.cols()};
}

/// The dot products of f32 rows, with each weight row decoded to one.
void multiply_decoded(const Device& device, const Product& p) {
  const auto n = static_cast<size_t>(p.w.weight.cols);
  const kernels::ActivationBatch tokens = activations(p, kernels::ActivationFormat::F32);
  const auto row_dot = device.kernels().row_dot[static_cast<size_t>(quant::Encoding::F32)];
  device.team().parallel_for(
      p.row_end - p.row_begin, rows_per_piece(device, p), [&](int64_t begin, int64_t end) {
        begin += p.row_begin;
        end += p.row_begin;
        std::vector<float> rows(static_cast<size_t>(end - begin) * n);
        const auto decoded = [&](int64_t r) {
          return rows.data() + static_cast<size_t>(r - begin) * n;
        };
        for (int64_t r = begin; r < end; ++r) quant::decode_row(p.w.weight, r, decoded(r));
        multiply_rows(p, row_dot, tokens, begin, end, [&](int64_t r) {
          return kernels::WeightRow{.data = reinterpret_cast<const std::byte*>(decoded(r))};
        });
      });
}

/// Dots of the rows as they are stored with activations in the form their kernel reads.
void multiply_stored(const Device& device, const Product& p) {
  const quant::Weight& weight = p.w.weight;
  const kernels::ActivationBatch tokens =
      activations(p, kernels::activation_format(weight.encoding));
  const auto row_dot = device.kernels().row_dot[static_cast<size_t>(weight.encoding)];
  device.team().parallel_for(
      p.row_end - p.row_begin, rows_per_piece(device, p), [&](int64_t begin, int64_t end) {
        multiply_rows(p, row_dot, tokens, p.row_begin + begin, p.row_begin + end,
                      [&](int64_t r) { return kernels::weight_row(weight, r); });
      });
}

void multiply(const Device& device, const Product& p) {
  if (p.x.rows() == 0) return;
  if (device.numerics() == Numerics::Fast && p.w.role != LinearRole::F32) {
    multiply_stored(device, p);
  } else if (device.official()) {
    multiply_official(device, p);
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
