#include "model/v4/attention.h"

#include <cmath>

#include "ops/norm.h"
#include "ops/sparse_attention.h"

namespace lethe::model::v4 {

Attention::Attention(const WeightLoader& loader, const std::string& prefix, int64_t ratio,
                     const RopeTables& rope, ops::Numerics numerics)
    : ratio_(ratio),
      heads_(loader.config().num_attention_heads),
      head_dim_(loader.config().head_dim),
      window_(loader.config().sliding_window),
      norm_eps_(loader.config().rms_norm_eps),
      rope_(&rope.of_ratio(ratio)),
      projections_(loader, prefix),
      codec_(numerics, ops::RowCodec::Kind::Fp8RopeBf16, head_dim_,
             loader.config().qk_rope_head_dim) {
  if (ratio == 0) return;
  compressor_.emplace(
      loader, prefix + ".compressor",
      Compressor::Shape{.ratio = ratio, .dim = head_dim_, .rope = rope_, .codec = codec_});
  if (ratio == 4) indexer_.emplace(loader, prefix + ".indexer", *rope_, numerics);
}

LayerCacheLayout Attention::cache_layout() const {
  LayerCacheLayout layout{.window_row_bytes = codec_.row_bytes(), .ratio = ratio_};
  if (compressor_) {
    layout.overlap = compressor_->overlap();
    layout.compressed_row_bytes = codec_.row_bytes();
    layout.tail_row_bytes = compressor_->tail_row_bytes();
  }
  if (indexer_) {
    layout.index_row_bytes = indexer_->compressor().codec().row_bytes();
    layout.index_tail_row_bytes = indexer_->compressor().tail_row_bytes();
  }
  return layout;
}

ops::Matrix Attention::forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                               int64_t layer, const TraceScope& trace) const {
  return forward_in(device, x, batch, layer, /*draft=*/false, trace);
}

ops::Matrix Attention::forward_draft(const ops::Device& device, const ops::Matrix& x,
                                     const Batch& batch, int64_t draft,
                                     const TraceScope& trace) const {
  LETHE_CHECK(ratio_ == 0, "draft blocks keep a window only");
  return forward_in(device, x, batch, draft, /*draft=*/true, trace);
}

ops::Matrix Attention::forward_in(const ops::Device& device, const ops::Matrix& x,
                                  const Batch& batch, int64_t layer, bool draft,
                                  const TraceScope& trace) const {
  const ops::Matrix qr = projections_.low_rank_query(device, x);
  ops::Matrix q = projections_.query(device, qr);
  ops::norm_and_rope(device, q, heads_, norm_eps_, *rope_, batch.positions);
  trace.add("q", q);

  const ops::Matrix kv = projections_.key_value(device, x, *rope_, batch.positions);
  const auto cache_of = [&](const SequenceRows& rows) -> LayerCache& {
    return draft ? rows.state->draft(layer) : rows.state->layer(layer);
  };
  for (const SequenceRows& rows : batch.sequences) {
    ops::RowStore& window = cache_of(rows).window;
    const int64_t first = window.append(rows.row_count);
    LETHE_CHECK(first == rows.position, "window rows and positions went apart");
    for (int64_t i = 0; i < rows.row_count; ++i) {
      codec_.encode(kv.row(rows.row_begin + i).data(), window.mutable_row(first + i));
    }
  }
  if (compressor_) {
    compressor_->forward(device, x, batch, layer, &LayerCache::compressor_tail,
                         &LayerCache::compressed);
  }
  ops::IndexMatrix selected;
  if (indexer_) selected = indexer_->forward(device, x, qr, batch, layer, trace);

  ops::Matrix o = ops::Matrix::unset(q.rows(), q.cols());
  for (const SequenceRows& rows : batch.sequences) {
    LayerCache& cache = cache_of(rows);
    ops::SparseAttentionArgs args{
        .row_begin = rows.row_begin,
        .row_count = rows.row_count,
        .position = rows.position,
        .heads = heads_,
        .window_size = window_,
        .window = &cache.window,
        .window_codec = codec_,
        .compressed = {},
        .sinks = projections_.sinks(),
        .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim_)))};
    if (compressor_) {
      args.compressed = {.rows = &cache.compressed,
                         .codec = codec_,
                         .ratio = ratio_,
                         .selected = indexer_ ? &selected : nullptr};
    }
    ops::sparse_attention(device, q, args, o);
  }
  return projections_.output(device, o, *rope_, batch.positions);
}

}  // namespace lethe::model::v4
