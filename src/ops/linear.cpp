#include "ops/linear.h"

#include <algorithm>
#include <vector>

#include "kernels/activation_batch.h"
#include "ops/product.h"
#include "quant/activation.h"

namespace lethe::ops {

namespace {

/// Buffers that serve one product after the other.
struct LinearBuffers {
  kernels::ActivationBatch batch;
  kernels::ActivationTiles tiles;
  std::vector<kernels::Activation> tokens;  // [groups, tokens]
};

LinearBuffers& linear_buffers() {
  thread_local LinearBuffers buffers;
  return buffers;
}

/// Block-diagonal: group g of the rows of w times group g of the columns of x, in one region.
void multiply(const Device& device, const Matrix& x, const Linear& w, int64_t groups, Matrix& out) {
  const int64_t count = x.rows();
  const int64_t n = w.in_features();
  if (count == 0) return;
  LinearBuffers& buffers = linear_buffers();
  auto& batch = buffers.batch;
  auto& tiles = buffers.tiles;
  auto& tokens = buffers.tokens;
  const kernels::ActivationFormat format = input_format(device, w);
  const bool tiled = takes_tiles(device, w, count);
  const kernels::TileForm form = tile_form(device, w);
  const bool in_tiles = tiled && form != kernels::TileForm::F32;  // prepared there
  if (!in_tiles) {
    batch.reset(format, x.values().data(), count * groups, n, n);
    fill(device, batch, 0, batch.size());
  }
  tokens.clear();
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t t = 0; t < count; ++t) {
      const int64_t at = t * groups + g;
      tokens.push_back(in_tiles ? kernels::Activation{.f32 = x.values().data() + at * n}
                                : batch[at]);
    }
  }
  if (tiled) {
    tiles.reset(form, groups * tiles_for(count), n);
    for (int64_t i = 0; i < groups * count; ++i) {
      tiles.add(i / count * tiles_for(count) + i % count / kernels::kTileTokens,
                tokens[static_cast<size_t>(i)]);
    }
    fill(device, tiles, n);
  }
  const int64_t group_rows = w.out_features() / groups;
  const int64_t piece = rows_per_piece(device, w, group_rows, n, count);
  const int64_t group_pieces = (group_rows + piece - 1) / piece;
  const int64_t block_pieces = groups * group_pieces;  // of a block of tokens
  const int64_t together = tokens_together(device, block_pieces, count);
  const int64_t blocks = (count + together - 1) / together;
  device.team().parallel_for(blocks * block_pieces, 1, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t token = i / block_pieces * together;
      const int64_t some = std::min(together, count - token);
      const int64_t g = i % block_pieces / group_pieces;
      const int64_t begin = g * group_rows + i % group_pieces * piece;
      const int64_t end = std::min(begin + piece, (g + 1) * group_rows);
      const Product product{.device = device,
                            .w = w,
                            .tokens = std::span(tokens).subspan(
                                static_cast<size_t>(g * count + token), static_cast<size_t>(some)),
                            .tiles = tiled ? &tiles : nullptr,
                            .first_tile = g * tiles_for(count) + token / kernels::kTileTokens};
      product.rows(begin, end, out.row(token).data() + begin, out.cols(),
                   next_piece(device, w, begin, end));
    }
  });
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
  Matrix y = Matrix::unset(x.rows(), w.out_features());
  if (device.official() && w.role == LinearRole::Fp8) {
    const Matrix q = quantized(device, x, w);
    multiply(device, q, w, 1, y);
  } else {
    multiply(device, x, w, 1, y);
  }
  store(device, w, y);
  return y;
}

Matrix grouped_linear(const Device& device, const Matrix& x, const Linear& w, int64_t groups) {
  LETHE_CHECK(x.cols() == groups * w.in_features() && w.out_features() % groups == 0);
  Matrix y = Matrix::unset(x.rows(), w.out_features());
  multiply(device, x, w, groups, y);
  store(device, w, y);
  return y;
}

}  // namespace lethe::ops
