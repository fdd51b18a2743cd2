#include "model/v4/lightning_indexer.h"

#include <algorithm>

#include "ops/index_scores.h"
#include "ops/pooling.h"
#include "ops/top_k.h"
#include "quant/activation.h"

namespace lethe::model::v4 {

namespace {

constexpr int64_t kRatio = 4;
constexpr int64_t kKeysPerPiece = 1024;  // of one query's keys, when queries are few

}  // namespace

LightningIndexer::LightningIndexer(const WeightLoader& loader, const std::string& prefix,
                                   const ops::RopeTable& rope, ops::Numerics numerics)
    : heads_(loader.config().index_n_heads),
      dim_(loader.config().index_head_dim),
      topk_(loader.config().index_topk),
      rope_(&rope),
      wq_b_(loader.linear(prefix + ".wq_b", ops::LinearRole::Fp8)),
      weights_proj_(loader.linear(prefix + ".weights_proj", ops::LinearRole::Bf16)),
      compressor_(loader, prefix + ".compressor",
                  {.ratio = kRatio,
                   .dim = dim_,
                   .index_key = true,
                   .rope = &rope,
                   .codec = ops::RowCodec(numerics, ops::RowCodec::Kind::Fp4, dim_,
                                          loader.config().qk_rope_head_dim)}) {}

ops::Matrix LightningIndexer::queries(const ops::Device& device, const ops::Matrix& qr,
                                      const Batch& batch) const {
  ops::Matrix q = ops::linear(device, qr, wq_b_);
  ops::rope(device, q, heads_, *rope_, batch.positions);
  device.for_rows(q.rows(), [&](int64_t t) {
    for (int64_t h = 0; h < heads_; ++h) {
      const std::span<float> head = q.part(t, h, heads_);
      ops::hadamard(device, head);
      if (device.official()) quant::fake_quantize_fp4(head.data(), dim_);
    }
  });
  return q;
}

ops::IndexMatrix LightningIndexer::forward(const ops::Device& device, const ops::Matrix& x,
                                           const ops::Matrix& qr, const Batch& batch, int64_t layer,
                                           const TraceScope& trace) const {
  compressor_.forward(device, x, batch, layer, &LayerCache::index_tail, &LayerCache::index_keys);
  const ops::Matrix q = queries(device, qr, batch);
  const ops::Matrix w = ops::index_head_weights(device, x, weights_proj_, dim_);
  ops::IndexMatrix selected(batch.rows(), topk_);

  for (const SequenceRows& rows : batch.sequences) {
    const ops::RowStore& keys = rows.state->layer(layer).index_keys;
    const auto query_of = [&](int64_t row) {
      return ops::IndexQuery{q.row(row), w.row(row), &keys, compressor_.codec()};
    };
    const auto choose = [&](int64_t row, std::span<const float> scores) {
      const std::vector<int32_t> best = ops::top_k(scores, topk_);
      std::copy(best.begin(), best.end(), selected.row(row).begin());
    };
    const auto visible_at = [&](int64_t i) { return (rows.position + i + 1) / kRatio; };
    if (rows.row_count >= device.team().size() && !trace.wants("index_scores")) {
      device.for_rows(rows.row_count, [&](int64_t i) {
        std::vector<float> scores(static_cast<size_t>(visible_at(i)));
        ops::index_scores(device, query_of(rows.row_begin + i), 0, visible_at(i), scores);
        choose(rows.row_begin + i, scores);
      });
      continue;
    }
    for (int64_t i = 0; i < rows.row_count; ++i) {  // few queries: share out the keys of each
      const int64_t row = rows.row_begin + i;
      std::vector<float> scores(static_cast<size_t>(visible_at(i)));
      device.team().parallel_for(visible_at(i), kKeysPerPiece, [&](int64_t begin, int64_t end) {
        ops::index_scores(device, query_of(row), begin, end,
                          std::span(scores).subspan(static_cast<size_t>(begin)));
      });
      trace.add_row("index_scores", std::span<const float>(scores));
      choose(row, scores);
    }
  }
  trace.add("index_topk", selected);
  return selected;
}

}  // namespace lethe::model::v4
