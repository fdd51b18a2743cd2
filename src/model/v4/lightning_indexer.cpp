#include "model/v4/lightning_indexer.h"

#include "ops/index_select.h"
#include "ops/pooling.h"
#include "ops/profile.h"
#include "quant/activation.h"

namespace lethe::model::v4 {

namespace {

constexpr int64_t kRatio = 4;

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
  ops::ProfileScope profile(device, ops::Part::Indexer);
  profile.read(wq_b_);
  profile.read(weights_proj_);
  compressor_.forward(device, x, batch, layer, &LayerCache::index_tail, &LayerCache::index_keys);
  const ops::Matrix q = queries(device, qr, batch);
  const ops::Matrix w = ops::index_head_weights(device, x, weights_proj_, dim_);
  ops::IndexMatrix selected(batch.rows(), topk_);

  for (const SequenceRows& rows : batch.sequences) {
    const ops::RowStore& keys = rows.state->layer(layer).index_keys;
    const int64_t last_visible = (rows.position + rows.row_count) / kRatio;
    profile.read_bytes(static_cast<double>(rows.row_count * last_visible * keys.row_bytes()));
    const auto query_of = [&](int64_t row) {
      return ops::IndexQuery{q.row(row), w.row(row), &keys, compressor_.codec()};
    };
    const auto select = [&](int64_t i, bool share_keys) {
      const ops::KeyRun visible{0, (rows.position + i + 1) / kRatio};
      ops::select_keys(device, query_of(rows.row_begin + i),
                       std::span(&visible, visible.end > 0 ? 1 : 0), {.keys = topk_}, share_keys,
                       selected.row(rows.row_begin + i));
    };
    if (rows.row_count >= device.team().size()) {
      device.for_rows(rows.row_count, [&](int64_t i) { select(i, false); });
    } else {  // few queries: share out the keys of each
      for (int64_t i = 0; i < rows.row_count; ++i) select(i, true);
    }
    if (!trace.wants("index_scores")) continue;
    for (int64_t i = 0; i < rows.row_count; ++i) {
      const int64_t visible = (rows.position + i + 1) / kRatio;
      std::vector<float> scores(static_cast<size_t>(visible));
      ops::index_scores(device, query_of(rows.row_begin + i), 0, visible, scores);
      trace.add_row("index_scores", std::span<const float>(scores));
    }
  }
  trace.add("index_topk", selected);
  return selected;
}

}  // namespace lethe::model::v4
