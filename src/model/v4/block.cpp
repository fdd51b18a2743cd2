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

float limit_of(const std::vector<double>& limits, int64_t index) {
  if (limits.empty()) return 0;
  const auto last = static_cast<int64_t>(limits.size()) - 1;
  return static_cast<float>(limits[static_cast<size_t>(std::min(index, last))]);
}

MoE::Shape moe_shape(const ModelConfig& config, int64_t index, bool draft) {
  return {.num_experts = config.n_routed_experts,
          .experts_per_token = config.num_experts_per_tok,
          .hash_routed = !draft && index < config.num_hash_layers,
          .swiglu_limit = limit_of(config.swiglu_limit, index),
          .swiglu_limit_shared = limit_of(config.swiglu_limit_shared, index)};
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
      ffn_(loader, prefix_of(index, draft) + ".ffn", moe_shape(loader.config(), index, draft)) {}

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
    trace.add("hc_attn_pre", mix.pre);
    trace.add("hc_attn_post", mix.post);
    trace.add("hc_attn_comb", mix.comb, std::vector<int64_t>{streams_, streams_});
    ops::Matrix x = ops::hyper_collapse(device, streams, mix.pre);
    ops::rms_norm(device, x, attention_norm_, norm_eps_);
    trace.add("attn_in", x);
    const ops::Matrix y = attention(device, x, batch, trace);
    trace.add("attn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  {
    const ops::HyperMix mix = ffn_connection_.mix(device, streams);
    trace.add("hc_ffn_pre", mix.pre);
    trace.add("hc_ffn_post", mix.post);
    trace.add("hc_ffn_comb", mix.comb, std::vector<int64_t>{streams_, streams_});
    ops::Matrix x = ops::hyper_collapse(device, streams, mix.pre);
    ops::rms_norm(device, x, ffn_norm_, norm_eps_);
    trace.add("ffn_in", x);
    const ops::Matrix y = feed_forward(device, x, batch, trace);
    trace.add("ffn_out", y);
    ops::hyper_expand(device, streams, y, mix);
  }
  trace.add("hidden", streams, std::vector<int64_t>{streams_, streams.cols() / streams_});
}

}  // namespace lethe::model::v4
