#include "model/synth/gguf_layout.h"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <string_view>

#include "base/check.h"
#include "model/synth/gguf_metadata.h"

namespace lethe::synth {

namespace {

struct Rename {
  std::string_view official;
  std::string_view gguf;
};

constexpr Rename kRootNames[] = {
    {"embed.weight", "token_embd.weight"},     {"norm.weight", "output_norm.weight"},
    {"head.weight", "output.weight"},          {"hc_head_fn", "output_hc_fn.weight"},
    {"hc_head_base", "output_hc_base.weight"}, {"hc_head_scale", "output_hc_scale.weight"},
};

/// After "layers.N." and "blk.N.". Where V4 and V4.1 have different official names they also have
/// different GGUF names.
constexpr Rename kBlockNames[] = {
    {"attn_norm.weight", "attn_norm.weight"},
    {"ffn_norm.weight", "ffn_norm.weight"},
    {"hc_attn_fn", "hc_attn_fn.weight"},
    {"hc_attn_base", "hc_attn_base.weight"},
    {"hc_attn_scale", "hc_attn_scale.weight"},
    {"hc_ffn_fn", "hc_ffn_fn.weight"},
    {"hc_ffn_base", "hc_ffn_base.weight"},
    {"hc_ffn_scale", "hc_ffn_scale.weight"},
    {"attn.attn_sink", "attn_sinks.weight"},
    {"attn.wq_a.weight", "attn_q_a.weight"},
    {"attn.q_norm.weight", "attn_q_a_norm.weight"},
    {"attn.wq_b.weight", "attn_q_b.weight"},
    {"attn.wkv.weight", "attn_kv.weight"},
    {"attn.kv_norm.weight", "attn_kv_a_norm.weight"},
    {"attn.wo_a.weight", "attn_output_a.weight"},
    {"attn.wo_b.weight", "attn_output_b.weight"},
    {"attn.compressor.wkv.weight", "attn_compressor_kv.weight"},
    {"attn.compressor.wgate.weight", "attn_compressor_gate.weight"},
    {"attn.compressor.ape", "attn_compressor_ape.weight"},
    {"attn.compressor.norm.weight", "attn_compressor_norm.weight"},
    {"attn.indexer.wq_b.weight", "indexer.attn_q_b.weight"},
    {"attn.indexer.weights_proj.weight", "indexer.proj.weight"},
    {"attn.indexer.compressor.wkv.weight", "indexer_compressor_kv.weight"},
    {"attn.indexer.compressor.wgate.weight", "indexer_compressor_gate.weight"},
    {"attn.indexer.compressor.ape", "indexer_compressor_ape.weight"},
    {"attn.indexer.compressor.norm.weight", "indexer_compressor_norm.weight"},
    {"attn.indexer.wk.weight", "indexer.attn_k.weight"},
    {"attn.indexer.k_norm.weight", "indexer.k_norm.weight"},
    {"ffn.gate.weight", "ffn_gate_inp.weight"},
    {"ffn.gate.bias", "exp_probs_b.bias"},
    {"ffn.gate.tid2eid", "ffn_gate_tid2eid.weight"},
    {"ffn.experts.0.w1.weight", "ffn_gate_exps.weight"},
    {"ffn.experts.0.w2.weight", "ffn_down_exps.weight"},
    {"ffn.experts.0.w3.weight", "ffn_up_exps.weight"},
    {"ffn.shared_experts.w1.weight", "ffn_gate_shexp.weight"},
    {"ffn.shared_experts.w2.weight", "ffn_down_shexp.weight"},
    {"ffn.shared_experts.w3.weight", "ffn_up_shexp.weight"},
    {"engram.embed.weight", "engram_embd.weight"},
    {"engram.wkv.weight", "engram_wkv.weight"},
    {"engram.q_weight", "engram_q.weight"},
    {"engram.k_weight", "engram_k.weight"},
    // MTP
    {"enorm.weight", "nextn.enorm.weight"},
    {"hnorm.weight", "nextn.hnorm.weight"},
    {"norm.weight", "nextn.shared_head_norm.weight"},
    {"e_proj.weight", "nextn.eh_proj.weight"},
};

template <size_t N>
std::optional<std::string_view> renamed(const Rename (&names)[N], std::string_view official) {
  for (const Rename& name : names) {
    if (name.official == official) return name.gguf;
  }
  return std::nullopt;
}

/// The part of an official name after "layers.N." or "mtp.N.".
std::string_view name_in_block(const TensorSpec& spec) {
  const std::string_view name = spec.name;
  return name.substr(name.find('.', name.find('.') + 1) + 1);
}

std::string gguf_name(const ModelConfig& config, const TensorSpec& spec) {
  if (spec.layer < 0) return std::string(renamed(kRootNames, spec.name).value());
  const std::string_view tail = name_in_block(spec);
  // A draft file's output_hc_* are the MTP block's own.
  if (spec.draft && tail.starts_with("hc_head_")) {
    return std::string(renamed(kRootNames, tail).value());
  }
  const std::optional<std::string_view> name = renamed(kBlockNames, tail);
  LETHE_CHECK(name, "{} has no GGUF name", spec.name);
  const int64_t block = spec.layer + (spec.draft ? config.num_hidden_layers : 0);
  return fmt::format("blk.{}.{}", block, *name);
}

Shape gguf_shape(const ModelConfig& config, const TensorSpec& spec) {
  Shape shape = spec.shape;
  if (spec.expert >= 0) shape.insert(shape.begin(), config.n_routed_experts);
  // e_proj and h_proj stand side by side on the input axis.
  if (spec.draft && name_in_block(spec) == "e_proj.weight") shape[1] *= 2;
  return shape;
}

void append_tensor(const ModelConfig& config, const TensorSpec& spec, const SynthOptions& options,
                   std::vector<OutputTensor>& tensors) {
  if (spec.expert > 0) return;                                       // in the stack of expert 0
  if (spec.draft && name_in_block(spec) == "h_proj.weight") return;  // in e_proj's
  const DType dtype = gguf_dtype(spec, options.expert_encoding.value_or(DType::MXFP4),
                                 options.dense_encoding.value_or(DType::Q8_0));
  tensors.push_back(gguf_output(config, spec, gguf_name(config, spec), gguf_shape(config, spec),
                                dtype, options.seed));
}

}  // namespace

GgufLayout gguf_model(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options) {
  GgufLayout layout{gguf_metadata(config, vocabulary, options, false), {}};
  for (const TensorSpec& spec : expected_tensors(config)) {
    if (!spec.draft) append_tensor(config, spec, options, layout.tensors);
  }
  return layout;
}

GgufLayout gguf_draft(const ModelConfig& config, const Vocabulary& vocabulary,
                      const SynthOptions& options) {
  LETHE_CHECK(config.family == ModelFamily::V4 && config.num_nextn_predict_layers == 1);
  GgufLayout layout{gguf_metadata(config, vocabulary, options, true), {}};
  for (const TensorSpec& spec : expected_tensors(config)) {
    const bool root = spec.layer < 0 && !spec.name.starts_with("hc_head_");
    if (spec.draft || root) append_tensor(config, spec, options, layout.tensors);
  }
  return layout;
}

}  // namespace lethe::synth
