#include "model/v4/block.h"

#include <fmt/core.h>

#include "ops/norm.h"

namespace lethe::model::v4 {

namespace {

std::string prefix_of(int64_t index, bool draft) {
  return fmt::format("{}.{}", draft ? "mtp" : "layers", index);
}

/// Number of the block in compress_ratios and swiglu limits: drafts follow the layers.
int64_t config_index(const ModelConfig& config, int64_t index, bool draft) {
  return draft ? config.num_hidden_layers + index : index;
}

MoE::Shape experts_of(const ModelConfig& config, int64_t index, bool draft) {
  MoE::Shape shape = moe_shape(config, config_index(config, index, draft));
  shape.hash_routed = !draft && index < config.num_hash_layers;
  return shape;
}

}  // namespace

Block::Block(const WeightLoader& loader, int64_t index, bool draft, const RopeTables& rope,
             ops::Numerics numerics)
    : index_(index),
      draft_(draft),
      norm_eps_(loader.config().rms_norm_eps),
      streams_(loader.config().hc_mult),
      attention_connection_(loader, prefix_of(index, draft) + ".hc_attn"),
      ffn_connection_(loader, prefix_of(index, draft) + ".hc_ffn"),
      attention_norm_(loader.vector(prefix_of(index, draft) + ".attn_norm.weight")),
      ffn_norm_(loader.vector(prefix_of(index, draft) + ".ffn_norm.weight")),
      attention_(loader, prefix_of(index, draft) + ".attn",
                 loader.config().compress_ratio(config_index(loader.config(), index, draft)), rope,
                 numerics),
      ffn_(loader, prefix_of(index, draft) + ".ffn", experts_of(loader.config(), index, draft)) {}

ops::Matrix Block::attention(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                             const TraceScope& trace) const {
  return draft_ ? attention_.forward_draft(device, x, batch, index_, trace)
                : attention_.forward(device, x, batch, index_, trace);
}

ops::Matrix Block::feed_forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                                const TraceScope& trace) const {
  return ffn_.forward(device, x, batch.tokens, trace);
}

void Block::forward(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
                    const TraceScope& trace) const {
  {
    const ops::HyperMix mix = attention_connection_.mix(device, streams);
    trace_mix(trace, "hc_attn", mix);
    ops::Matrix x = ops::hyper_collapse(device, streams, mix.pre);
    ops::rms_norm(device, x, attention_norm_, norm_eps_);
    trace.add("attn_in", x);
    const ops::Matrix y = attention(device, x, batch, trace);
    trace.add("attn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  {
    const ops::HyperMix mix = ffn_connection_.mix(device, streams);
    trace_mix(trace, "hc_ffn", mix);
    ops::Matrix x = ops::hyper_collapse(device, streams, mix.pre);
    ops::rms_norm(device, x, ffn_norm_, norm_eps_);
    trace.add("ffn_in", x);
    const ops::Matrix y = feed_forward(device, x, batch, trace);
    trace.add("ffn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  trace.add("hidden", streams, {streams_, streams.cols() / streams_});
}

}  // namespace lethe::model::v4
