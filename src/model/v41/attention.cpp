#include "model/v41/attention.h"

#include <algorithm>
#include <cmath>

#include "tensor/integers.h"

namespace lethe::model::v41 {

AttentionRole attention_role(const ModelConfig& config, int64_t layer) {
  AttentionRole role{.ratio = config.compress_ratio(layer),
                     .kv_source = contains(config.kv_source_layer_ids, layer),
                     .index_source = contains(config.index_source_layer_ids, layer)};
  if (config.candidate_source_layer_id) {
    const int64_t source = *config.candidate_source_layer_id;
    if (layer == source) role.candidates = LightningIndexer::Candidates::Publish;
    if (layer > source) role.candidates = LightningIndexer::Candidates::Obey;
  }
  return role;
}

Attention::Attention(const WeightLoader& loader, const std::string& prefix,
                     const AttentionRole& role, const RopeTables& rope, ops::Numerics numerics)
    : role_(role),
      heads_(loader.config().num_attention_heads),
      head_dim_(loader.config().head_dim),
      window_(loader.config().sliding_window),
      rope_(&rope.of_ratio(role.ratio)),
      projections_(loader, prefix),
      window_codec_(numerics, ops::RowCodec::Kind::Fp8, head_dim_,
                    loader.config().qk_rope_head_dim),
      row_codec_(numerics, ops::RowCodec::Kind::Fp4E4m3, head_dim_,
                 loader.config().qk_rope_head_dim) {
  if (role.kv_source) compressor_.emplace(loader, prefix, role.ratio, *rope_, numerics);
  if (role.index_source) {
    indexer_.emplace(
        loader, prefix + ".indexer",
        LightningIndexer::Shape{.ratio = role.ratio, .candidates = role.candidates, .rope = rope_},
        numerics);
  }
}

LayerCacheLayout Attention::cache_layout() const {
  LayerCacheLayout layout{.window_row_bytes = window_codec_.row_bytes()};
  if (compressor_) {
    layout.ratio = role_.ratio;
    layout.compressed_row_bytes = compressor_->row_codec().row_bytes();
    layout.tail_row_bytes = compressor_->tail_row_bytes();
    layout.index_row_bytes = compressor_->key_codec().row_bytes();
  }
  return layout;
}

ops::Matrix Attention::rotated_queries(const ops::Device& device, const ops::Matrix& qr,
                                       const Batch& batch) const {
  ops::Matrix q = projections_.query(device, qr);
  ops::rope(device, q, heads_, *rope_, batch.positions);
  return q;
}

void Attention::append_window(const ops::Matrix& kv, const SequenceRows& rows,
                              ops::RowStore& window) const {
  const int64_t first = window.append(rows.row_count);
  LETHE_CHECK(first == rows.position, "window rows and positions went apart");
  for (int64_t i = 0; i < rows.row_count; ++i) {
    window_codec_.encode(kv.row(rows.row_begin + i).data(), window.mutable_row(first + i));
  }
}

void Attention::publish_keys(const Batch& batch, int64_t layer, SharedStreams& shared) const {
  shared.kv_source = layer;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& rows = batch.sequences[s];
    const bool completes =
        (rows.position + rows.row_count) / role_.ratio > rows.position / role_.ratio;
    if (completes || !stale_index_keys_) shared.index_key_source[s] = layer;
  }
}

ops::SparseAttentionArgs Attention::attention_args(const SequenceRows& rows,
                                                   const ops::RowStore& window) const {
  return {.row_begin = rows.row_begin,
          .row_count = rows.row_count,
          .position = rows.position,
          .heads = heads_,
          .window_size = window_,
          .window = &window,
          .window_codec = window_codec_,
          .compressed = {},
          .sinks = projections_.sinks(),
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim_)))};
}

ops::Matrix Attention::forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                               int64_t layer, SharedStreams& shared,
                               const TraceScope& trace) const {
  remember(device, x, batch, layer);
  if (compressor_) publish_keys(batch, layer, shared);
  const ops::Matrix qr = projections_.low_rank_query(device, x);
  const ops::Matrix q = rotated_queries(device, qr, batch);
  if (indexer_) indexer_->forward(device, x, qr, batch, shared, trace);

  ops::Matrix o = ops::Matrix::unset(q.rows(), q.cols());
  for (const SequenceRows& rows : batch.sequences) {
    ops::SparseAttentionArgs args = attention_args(rows, rows.state->layer(layer).window);
    if (role_.ratio > 0) {
      args.compressed = {.rows = &rows.state->layer(shared.kv_source).compressed,
                         .codec = row_codec_,
                         .ratio = role_.ratio,
                         .selected = &shared.selected};
    }
    ops::sparse_attention(device, q, args, o);
  }
  return projections_.output(device, o, *rope_, batch.positions);
}

void Attention::remember(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                         int64_t layer) const {
  const ops::Matrix kv = projections_.key_value(device, x, *rope_, batch.positions);
  for (const SequenceRows& rows : batch.sequences) {
    append_window(kv, rows, rows.state->layer(layer).window);
  }
  if (compressor_) compressor_->forward(device, x, batch, layer);
}

void Attention::feed_draft(const ops::Device& device, const ops::Matrix& main_x, const Batch& batch,
                           int64_t stage) const {
  const ops::Matrix kv = projections_.key_value(device, main_x, *rope_, batch.positions);
  for (const SequenceRows& rows : batch.sequences) {
    append_window(kv, rows, rows.state->draft(stage).window);
  }
}

ops::Matrix Attention::forward_draft(const ops::Device& device, const ops::Matrix& x,
                                     const Batch& batch, int64_t stage) const {
  const SequenceRows& rows = batch.sequences.at(0);
  const ops::Matrix q = rotated_queries(device, projections_.low_rank_query(device, x), batch);
  const ops::Matrix kv = projections_.key_value(device, x, *rope_, batch.positions);
  ops::RowStore& window = rows.state->draft(stage).window;
  append_window(kv, rows, window);
  ops::SparseAttentionArgs args = attention_args(rows, window);
  args.first_visible = std::max(window.begin(), rows.position - window_);
  args.last_visible = window.end() - 1;
  ops::Matrix o = ops::Matrix::unset(q.rows(), q.cols());
  ops::sparse_attention(device, q, args, o);
  window.truncate(rows.position);
  return projections_.output(device, o, *rope_, batch.positions);
}

}  // namespace lethe::model::v41
