#include "model/v41/block.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "ops/norm.h"

namespace lethe::model::v41 {

Block::Block(const WeightLoader& loader, const std::string& prefix, const AttentionRole& role,
             const MoE::Shape& experts, const RopeTables& rope, ops::Numerics numerics)
    : norm_eps_(loader.config().rms_norm_eps),
      streams_(loader.config().hc_mult),
      attention_connection_(loader, prefix + ".hc_attn"),
      ffn_connection_(loader, prefix + ".hc_ffn"),
      attention_norm_(loader.vector(prefix + ".attn_norm.weight")),
      ffn_norm_(loader.vector(prefix + ".ffn_norm.weight")),
      attention_(loader, prefix + ".attn", role, rope, numerics),
      ffn_(loader, prefix + ".ffn", experts) {}

Block Block::layer(const WeightLoader& loader, int64_t index, const RopeTables& rope,
                   const EngramHash& hash, ops::Numerics numerics) {
  const ModelConfig& config = loader.config();
  const std::string prefix = fmt::format("layers.{}", index);
  Block block(loader, prefix, attention_role(config, index), moe_shape(config, index), rope,
              numerics);
  block.index_ = index;
  const std::vector<int64_t>& engrams = config.engram.layer_ids;
  const auto engram = std::find(engrams.begin(), engrams.end(), index);
  if (engram != engrams.end()) {
    block.engram_.emplace(loader, prefix + ".engram", static_cast<size_t>(engram - engrams.begin()),
                          hash);
  }
  return block;
}

Block Block::draft_stage(const WeightLoader& loader, int64_t index, const RopeTables& rope,
                         ops::Numerics numerics) {
  const ModelConfig& config = loader.config();
  MoE::Shape experts = moe_shape(config, config.num_hidden_layers + index);
  experts.num_experts = config.dspark.n_routed_experts;
  experts.experts_per_token = config.dspark.num_experts_per_tok;
  Block block(loader, fmt::format("mtp.{}", index), AttentionRole{}, experts, rope, numerics);
  block.index_ = index;
  return block;
}

void Block::prefetch_engram(const ops::Device& device, const Batch& batch) const {
  if (engram_) engram_->prefetch(device, batch);
}

void Block::inject_engram(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
                          const TraceScope& trace) const {
  if (engram_) engram_->forward(device, streams, batch, trace);
}

template <typename AttentionForward>
void Block::sublayers(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
                      const Batch& batch, const TraceScope& trace,
                      AttentionForward&& attend) const {
  ops::HyperMix mix = attention_connection_.mix(device, streams);
  trace_mix(trace, "hc_attn", mix);
  {
    ops::Matrix x = ops::hyper_collapse(device, streams, pre);
    ops::rms_norm(device, x, attention_norm_, norm_eps_);
    trace.add("attn_in", x);
    const ops::Matrix y = attend(x);
    trace.add("attn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  pre = std::move(mix.pre);

  mix = ffn_connection_.mix(device, streams);
  trace_mix(trace, "hc_ffn", mix);
  {
    ops::Matrix x = ops::hyper_collapse(device, streams, pre);
    ops::rms_norm(device, x, ffn_norm_, norm_eps_);
    trace.add("ffn_in", x);
    const ops::Matrix y = ffn_.forward(device, x, batch.tokens, trace);
    trace.add("ffn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  pre = std::move(mix.pre);
  trace.add("hidden", streams, {streams_, streams.cols() / streams_});
}

void Block::forward(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
                    const Batch& batch, SharedStreams& shared, const TraceScope& trace) const {
  sublayers(device, streams, pre, batch, trace, [&](const ops::Matrix& x) {
    return attention_.forward(device, x, batch, index_, shared, trace);
  });
}

void Block::remember(const ops::Device& device, const ops::Matrix& streams, const ops::Matrix& pre,
                     const Batch& batch) const {
  ops::Matrix x = ops::hyper_collapse(device, streams, pre);
  ops::rms_norm(device, x, attention_norm_, norm_eps_);
  attention_.remember(device, x, batch, index_);
}

void Block::forward_draft(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
                          const Batch& batch, const TraceScope& trace) const {
  sublayers(device, streams, pre, batch, trace, [&](const ops::Matrix& x) {
    return attention_.forward_draft(device, x, batch, index_);
  });
}

ops::Matrix identity_pre_mix(int64_t tokens, int64_t hc_mult) {
  ops::Matrix pre(tokens, hc_mult);
  for (int64_t t = 0; t < tokens; ++t) pre.row(t)[0] = 1;
  return pre;
}

}  // namespace lethe::model::v41
