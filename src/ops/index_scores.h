#pragma once

#include <span>

#include "ops/device.h"
#include "ops/linear.h"
#include "ops/row_codec.h"
#include "ops/row_store.h"

namespace lethe::ops {

/// The index keys of one sequence and one query of the lightning indexer.
struct IndexQuery {
  std::span<const float> q;        // [index_heads * index_dim]
  std::span<const float> weights;  // [index_heads], signed, already scaled
  const RowStore* keys = nullptr;
  RowCodec codec;
};

/// out[j - begin] = sum_h weights_h * max(0, q_h . k_j) for keys j in [begin, end), f32; in
/// `official` the dot, the weighted term and the sum are each rounded to bf16. Serial: callers
/// share out queries or key ranges. Source: spec V4 4.4, V4.1 4.3.
void index_scores(const Device& device, const IndexQuery& query, int64_t begin, int64_t end,
                  std::span<float> out);

/// The heads' weights w = (weights_proj x) * dim^-1/2 * heads^-1/2, [tokens, heads]; one rounding
/// point after the product and one after the scaling. x: [tokens, hidden].
Matrix index_head_weights(const Device& device, const Matrix& x, const Linear& weights_proj,
                          int64_t dim);

}  // namespace lethe::ops
