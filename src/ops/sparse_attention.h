#pragma once

#include <span>

#include "ops/device.h"
#include "ops/row_codec.h"
#include "ops/row_store.h"

namespace lethe::ops {

/// Which compressed entries a query attends to, besides its window.
struct CompressedKeys {
  const RowStore* rows = nullptr;  ///< null: window only
  RowCodec codec;
  int64_t ratio = 0;
  /// Entry numbers per query row, -1 = none; null: every entry that is visible to the query,
  /// j < floor((t + 1) / ratio).
  const IndexMatrix* selected = nullptr;
};

/// Queries of one sequence: rows [row_begin, row_begin + row_count) of a batch, at consecutive
/// positions from `position`.
struct SparseAttentionArgs {
  int64_t row_begin = 0;
  int64_t row_count = 0;
  int64_t position = 0;
  int64_t heads = 0;
  int64_t window_size = 0;
  const RowStore* window = nullptr;  ///< row p = position p
  RowCodec window_codec;
  CompressedKeys compressed;
  /// Draft blocks: rows past the query's own position that it sees too (no causal mask inside the
  /// block); keys are then window rows [first, last_visible]. -1: causal.
  int64_t last_visible = -1;
  int64_t first_visible = -1;    ///< with last_visible: first window row, instead of t - W + 1
  std::span<const float> sinks;  ///< [heads], raw logits
  float scale = 0;               ///< head_dim^-1/2
};

/// o = sum_i e^{s_i} kv_i / (sum_i e^{s_i} + e^{sink}), keys = values, one KV head for all heads.
/// q, out: [tokens, heads * head_dim]; only the rows of the sequence are read and written.
/// Keys are taken in a fixed order (window by position in `window_size` columns, then the entries
/// as listed) in blocks of 64 with a running max, so a query's result depends on nothing but its
/// own keys. Rounding: `official` rounds e^{s - max} to bf16 for the value sum only, sums in f64,
/// and rounds the result to bf16; `f32` f32; `fast` as fast_attention.h says. Source: spec V4 4.2
/// and section 6, V4.1 4.1.
void sparse_attention(const Device& device, const Matrix& q, const SparseAttentionArgs& args,
                      Matrix& out);

}  // namespace lethe::ops
