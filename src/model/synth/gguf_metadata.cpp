#include "model/synth/gguf_metadata.h"

#include <string_view>

namespace lethe::synth {

namespace {

/// Appends values under "deepseek4." or "deepseek41.".
class Keys {
 public:
  Keys(GgufMetadata& metadata, std::string prefix)
      : metadata_(metadata), prefix_(std::move(prefix)) {}
  void u32(std::string_view key, int64_t value) { put(key, static_cast<uint32_t>(value)); }
  void f32(std::string_view key, double value) { put(key, static_cast<float>(value)); }
  void i32s(std::string_view key, const std::vector<int64_t>& values) {
    put(key, std::vector<int32_t>(values.begin(), values.end()));
  }
  void put(std::string_view key, GgufWriteValue value) {
    metadata_.emplace_back(prefix_ + std::string(key), std::move(value));
  }

 private:
  GgufMetadata& metadata_;
  std::string prefix_;
};

void put_attention(const ModelConfig& c, Keys& keys) {
  keys.u32("attention.head_count", c.num_attention_heads);
  keys.u32("attention.head_count_kv", 1);
  keys.u32("attention.key_length", c.head_dim);
  keys.u32("attention.value_length", c.head_dim);
  keys.u32("attention.q_lora_rank", c.q_lora_rank);
  keys.u32("attention.sliding_window", c.sliding_window);
  keys.u32("attention.output_group_count", c.o_groups);
  keys.u32("attention.output_lora_rank", c.o_lora_rank);
  keys.i32s("attention.compress_ratios", c.compress_ratios);
  keys.f32("attention.compress_rope_freq_base", c.compress_rope_theta);
  keys.u32("attention.indexer.head_count", c.index_n_heads);
  keys.u32("attention.indexer.key_length", c.index_head_dim);
  keys.u32("attention.indexer.top_k", c.index_topk);
  keys.f32("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  keys.u32("rope.dimension_count", c.qk_rope_head_dim);
  keys.f32("rope.freq_base", c.rope_theta);
  if (c.yarn.original_max_position_embeddings == 0) return;
  keys.put("rope.scaling.type", std::string("yarn"));
  keys.f32("rope.scaling.factor", c.yarn.factor);
  keys.u32("rope.scaling.original_context_length", c.yarn.original_max_position_embeddings);
  keys.f32("rope.scaling.yarn_beta_fast", c.yarn.beta_fast);
  keys.f32("rope.scaling.yarn_beta_slow", c.yarn.beta_slow);
}

void put_experts(const ModelConfig& c, int64_t blocks, Keys& keys) {
  keys.u32("expert_count", c.n_routed_experts);
  keys.u32("expert_used_count", c.num_experts_per_tok);
  keys.u32("expert_shared_count", c.n_shared_experts);
  keys.u32("expert_feed_forward_length", c.moe_intermediate_size);
  constexpr int64_t kSqrtSoftplus = 4;
  keys.u32("expert_gating_func", kSqrtSoftplus);
  keys.f32("expert_weights_scale", c.routed_scaling_factor);
  keys.put("expert_weights_norm", c.norm_topk_prob);
  keys.u32("hash_layer_count", c.num_hash_layers);
  const std::vector<float> limits(static_cast<size_t>(blocks),
                                  static_cast<float>(c.swiglu_limit.at(0)));
  keys.put("swiglu_clamp_exp", limits);
  keys.put("swiglu_clamp_shexp", limits);
}

void put_v41(const ModelConfig& c, Keys& keys) {
  keys.i32s("attention.kv_source_layer_ids", c.kv_source_layer_ids);
  keys.i32s("attention.index_source_layer_ids", c.index_source_layer_ids);
  if (c.candidate_source_layer_id) {
    keys.u32("attention.candidate_source_layer_id", *c.candidate_source_layer_id);
    keys.u32("attention.candidate_topk_blocks", c.candidate_topk_blocks);
    keys.u32("attention.candidate_block_size", c.candidate_block_size);
  }
  keys.i32s("engram.layer_ids", c.engram.layer_ids);
  keys.u32("engram.head_count", c.engram.n_heads);
  keys.u32("engram.key_length", c.engram.head_dim);
  keys.u32("engram.max_ngram_size", c.engram.max_ngram_size);
  keys.u32("engram.vocab_size", c.engram.vocab_size);
  keys.u32("engram.pad_token_id", c.engram.pad_token_id);
  keys.u32("engram.compressed_vocab_size", c.engram.compressed_vocab_size);
  keys.put("engram.num_embeddings", c.engram.num_embeddings);
}

void put_tokenizer(const Vocabulary& vocabulary, GgufMetadata& metadata) {
  constexpr int32_t kNormal = 1;
  constexpr int32_t kControl = 3;
  constexpr int32_t kUserDefined = 4;
  std::vector<int32_t> types;
  for (int64_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& text = vocabulary.tokens[static_cast<size_t>(id)];
    const bool thinking = text == "<think>" || text == "</think>";
    types.push_back(!vocabulary.is_special(id) ? kNormal : thinking ? kUserDefined : kControl);
  }
  std::vector<std::string> merges;
  for (const auto& [left, right] : vocabulary.merges) merges.push_back(left + " " + right);
  Keys keys(metadata, "tokenizer.ggml.");
  keys.put("model", std::string("gpt2"));
  keys.put("pre", std::string("joyai-llm"));
  keys.put("tokens", vocabulary.tokens);
  keys.put("token_type", types);
  if (!merges.empty()) keys.put("merges", merges);
  keys.u32("bos_token_id", 0);
  keys.u32("eos_token_id", 1);
  keys.u32("padding_token_id", kPaddingId);
  keys.put("add_bos_token", false);
  keys.put("add_eos_token", false);
}

/// general.file_type is for display: the code of the experts' type where it has one.
int64_t file_type(DType experts) {
  switch (experts) {
    case DType::F32:
      return 0;
    case DType::F16:
      return 1;
    case DType::Q8_0:
      return 7;
    case DType::Q2_K:
      return 10;
    case DType::Q4_K:
      return 15;
    case DType::IQ2_XXS:
      return 19;
    case DType::BF16:
      return 32;
    default:
      return 38;
  }
}

}  // namespace

GgufMetadata gguf_metadata(const ModelConfig& config, const Vocabulary& vocabulary,
                           const SynthOptions& options, bool draft) {
  const bool v41 = config.family == ModelFamily::V41;
  const std::string architecture = v41 ? "deepseek41" : "deepseek4";
  const int64_t blocks = config.num_hidden_layers + (draft ? config.num_nextn_predict_layers : 0);
  GgufMetadata metadata;
  Keys general(metadata, "general.");
  general.put("architecture", architecture);
  general.put("type", std::string("model"));
  general.put("name", config.name);
  general.u32("quantization_version", 2);
  general.u32("file_type", file_type(options.expert_encoding.value_or(DType::MXFP4)));

  Keys keys(metadata, architecture + ".");
  keys.u32("block_count", blocks);
  keys.u32("context_length", config.max_position_embeddings);
  keys.u32("embedding_length", config.hidden_size);
  keys.u32("embedding_length_out", config.hidden_size * config.hc_mult);
  keys.u32("vocab_size", config.vocab_size);
  put_attention(config, keys);
  put_experts(config, blocks, keys);
  keys.u32("hyper_connection.count", config.hc_mult);
  keys.u32("hyper_connection.sinkhorn_iterations", config.hc_sinkhorn_iters);
  keys.f32("hyper_connection.epsilon", config.hc_eps);
  if (v41) put_v41(config, keys);
  if (draft) keys.u32("nextn_predict_layers", config.num_nextn_predict_layers);
  put_tokenizer(vocabulary, metadata);
  return metadata;
}

}  // namespace lethe::synth
