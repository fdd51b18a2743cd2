#include "model/v41/lightning_indexer.h"

#include <algorithm>
#include <limits>

#include "ops/profile.h"
#include "quant/activation.h"

namespace lethe::model::v41 {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

LightningIndexer::LightningIndexer(const WeightLoader& loader, const std::string& prefix,
                                   const Shape& shape, ops::Numerics numerics)
    : shape_(shape),
      heads_(loader.config().index_n_heads),
      dim_(loader.config().index_head_dim),
      topk_(loader.config().index_topk),
      candidate_topk_blocks_(loader.config().candidate_topk_blocks),
      candidate_block_size_(loader.config().candidate_block_size),
      key_codec_(numerics, ops::RowCodec::Kind::Fp4, dim_, loader.config().qk_rope_head_dim),
      wq_b_(loader.linear(prefix + ".wq_b", ops::LinearRole::Fp8)),
      weights_proj_(loader.linear(prefix + ".weights_proj", ops::LinearRole::Bf16)) {}

ops::Matrix LightningIndexer::queries(const ops::Device& device, const ops::Matrix& qr,
                                      const Batch& batch) const {
  ops::Matrix q = ops::linear(device, qr, wq_b_);
  ops::rope(device, q, heads_, *shape_.rope, batch.positions);
  if (!device.official()) return q;
  device.for_rows(q.rows(), [&](int64_t t) {
    for (int64_t h = 0; h < heads_; ++h) {
      quant::fake_quantize_fp4(q.part(t, h, heads_).data(), dim_);
    }
  });
  return q;
}

/// The keys to be scored, in ascending runs: all visible ones, or those of the candidate blocks.
RecycledVector<ops::KeyRun> LightningIndexer::runs(int64_t visible,
                                                   const RecycledVector<int32_t>* blocks) const {
  RecycledVector<ops::KeyRun> runs;
  if (blocks == nullptr) {
    if (visible > 0) runs.push_back({0, visible});
    return runs;
  }
  for (const int32_t block : *blocks) {
    const int64_t begin = block * candidate_block_size_;
    const int64_t end = std::min(begin + candidate_block_size_, visible);
    if (begin >= visible) break;
    if (!runs.empty() && runs.back().end == begin) {
      runs.back().end = end;
    } else {
      runs.push_back({begin, end});
    }
  }
  return runs;
}

void LightningIndexer::select_row(const ops::Device& device, const ops::IndexQuery& query,
                                  int64_t row, int64_t visible, bool share_keys,
                                  SharedStreams& shared, const TraceScope& trace) const {
  const auto at = static_cast<size_t>(row);
  const bool obeys = shape_.candidates == Candidates::Obey;
  const bool publishes = shape_.candidates == Candidates::Publish;
  const RecycledVector<ops::KeyRun> keys =
      runs(visible, obeys ? &shared.candidate_blocks.at(at) : nullptr);
  const ops::KeyChoice choice{.keys = topk_,
                              .ascending = true,
                              .blocks = publishes ? candidate_topk_blocks_ : 0,
                              .keys_per_block = publishes ? candidate_block_size_ : 1};
  ops::select_keys(device, query, keys, choice, share_keys, shared.selected.row(row),
                   publishes ? &shared.candidate_blocks[at] : nullptr);

  if (!trace.wants("index_scores")) return;
  std::vector<float> all(static_cast<size_t>(visible), -kInfinity);
  for (const ops::KeyRun& run : keys) {
    ops::index_scores(device, query, run.begin, run.end,
                      std::span(all).subspan(static_cast<size_t>(run.begin)));
  }
  trace.add_row("index_scores", std::span<const float>(all));
}

void LightningIndexer::forward(const ops::Device& device, const ops::Matrix& x,
                               const ops::Matrix& qr, const Batch& batch, SharedStreams& shared,
                               const TraceScope& trace) const {
  ops::ProfileScope profile(device, ops::Part::Indexer);
  profile.read(wq_b_);
  profile.read(weights_proj_);
  const ops::Matrix q = queries(device, qr, batch);
  const ops::Matrix w = ops::index_head_weights(device, x, weights_proj_, dim_);
  shared.selected = ops::IndexMatrix(batch.rows(), topk_);
  if (shape_.candidates == Candidates::Publish) {
    shared.candidate_blocks.assign(static_cast<size_t>(batch.rows()), {});
  }
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& rows = batch.sequences[s];
    const ops::RowStore& keys = rows.state->layer(shared.index_key_source[s]).index_keys;
    const auto select = [&](int64_t i, bool share_keys) {
      const int64_t row = rows.row_begin + i;
      const int64_t visible = (rows.position + i + 1) / shape_.ratio;
      LETHE_DCHECK(visible <= keys.end());
      select_row(device, {q.row(row), w.row(row), &keys, key_codec_}, row, visible, share_keys,
                 shared, trace);
    };
    if (rows.row_count >= device.team().size() && !trace.wants("index_scores")) {
      device.for_rows(rows.row_count, [&](int64_t i) { select(i, false); });
    } else {  // few queries: share out the keys of each
      for (int64_t i = 0; i < rows.row_count; ++i) select(i, true);
    }
  }
  trace.add("index_topk", shared.selected);
  if (shape_.candidates != Candidates::Publish) return;
  for (const RecycledVector<int32_t>& blocks : shared.candidate_blocks) {
    trace.add_row("candidate_blocks", std::span<const int32_t>(blocks));
  }
}

}  // namespace lethe::model::v41
