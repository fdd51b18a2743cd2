#pragma once

#include <span>
#include <vector>

#include "ops/device.h"
#include "ops/linear.h"
#include "ops/row_codec.h"
#include "ops/row_store.h"

namespace lethe::ops {

/// A query of the lightning indexer as int8 codes, for integer dots with keys in FP4: `fast`. Each
/// head has one scale, max|q| / 127, which joins its weight: a step of that size is at most that
/// of the FP4 in which the reference keeps the head's largest group.
class IndexCodes {
 public:
  /// q: [heads * dim], weights: [heads]. Allocates only for more heads or dims than before.
  void assign(std::span<const float> q, std::span<const float> weights, int64_t dim);
  kernels::IndexQueryCodes view() const noexcept;

 private:
  int64_t heads_ = 0;  // padded
  int64_t dim_ = 0;
  std::vector<int8_t> codes_;
  std::vector<int32_t> biases_;
  std::vector<float> weights_;
};

/// The index keys of one sequence and one query of the lightning indexer.
struct IndexQuery {
  std::span<const float> q;        // [index_heads * index_dim]
  std::span<const float> weights;  // [index_heads], signed, already scaled
  const RowStore* keys = nullptr;
  RowCodec codec;
};

/// out[j - begin] = sum_h weights_h * max(0, q_h . k_j) for keys j in [begin, end). `official`: the
/// dot, the weighted term and the sum are each rounded to bf16. `f32`: f32. `fast`: integer dots
/// with `codes`, which must be the query's (kernels/index_scores.h). Serial: callers share out
/// queries or key ranges. Source: spec V4 4.4, V4.1 4.3.
void index_scores(const Device& device, const IndexQuery& query, const IndexCodes& codes,
                  int64_t begin, int64_t end, std::span<float> out);
/// The same with the codes made for this call.
void index_scores(const Device& device, const IndexQuery& query, int64_t begin, int64_t end,
                  std::span<float> out);

/// The heads' weights w = (weights_proj x) * dim^-1/2 * heads^-1/2, [tokens, heads]; one rounding
/// point after the product and one after the scaling. x: [tokens, hidden].
Matrix index_head_weights(const Device& device, const Matrix& x, const Linear& weights_proj,
                          int64_t dim);

}  // namespace lethe::ops
