#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tensor/model_config.h"

namespace lethe {

namespace {

using Json = nlohmann::ordered_json;

/// config.json knows one clamp for all layers.
double single_swiglu_limit(const ModelConfig& c) {
  const double limit = c.swiglu_limit.empty() ? 0.0 : c.swiglu_limit.front();
  const auto differs = [limit](double x) { return x != limit; };
  if (std::any_of(c.swiglu_limit.begin(), c.swiglu_limit.end(), differs) ||
      std::any_of(c.swiglu_limit_shared.begin(), c.swiglu_limit_shared.end(), differs)) {
    throw Error("{}: swiglu_limit differs between layers, which config.json cannot express",
                c.name);
  }
  return limit;
}

/// The fields that V4 and the text_config of V4.1 share.
void put_common(Json& j, const ModelConfig& c) {
  j["vocab_size"] = c.vocab_size;
  j["hidden_size"] = c.hidden_size;
  j["num_hidden_layers"] = c.num_hidden_layers;
  j["num_nextn_predict_layers"] = c.num_nextn_predict_layers;
  j["num_attention_heads"] = c.num_attention_heads;
  j["num_key_value_heads"] = 1;
  j["head_dim"] = c.head_dim;
  j["qk_rope_head_dim"] = c.qk_rope_head_dim;
  j["q_lora_rank"] = c.q_lora_rank;
  j["o_groups"] = c.o_groups;
  j["o_lora_rank"] = c.o_lora_rank;
  j["sliding_window"] = c.sliding_window;
  j["max_position_embeddings"] = c.max_position_embeddings;
  j["rms_norm_eps"] = c.rms_norm_eps;
  j["rope_theta"] = c.rope_theta;
  j["compress_rope_theta"] = c.compress_rope_theta;
  j["compress_ratios"] = c.compress_ratios;
  j["index_n_heads"] = c.index_n_heads;
  j["index_head_dim"] = c.index_head_dim;
  j["index_topk"] = c.index_topk;
  j["n_routed_experts"] = c.n_routed_experts;
  j["n_shared_experts"] = c.n_shared_experts;
  j["num_experts_per_tok"] = c.num_experts_per_tok;
  j["moe_intermediate_size"] = c.moe_intermediate_size;
  j["scoring_func"] = c.scoring_func;
  j["topk_method"] = "noaux_tc";
  j["norm_topk_prob"] = c.norm_topk_prob;
  j["routed_scaling_factor"] = c.routed_scaling_factor;
  j["swiglu_limit"] = single_swiglu_limit(c);
  j["hc_mult"] = c.hc_mult;
  j["hc_sinkhorn_iters"] = c.hc_sinkhorn_iters;
  j["hc_eps"] = c.hc_eps;
  j["hidden_act"] = "silu";
  j["attention_bias"] = false;
  j["tie_word_embeddings"] = false;
}

Json yarn_json(const ModelConfig& c, const char* type_key) {
  return {{type_key, "yarn"},
          {"factor", c.yarn.factor},
          {"beta_fast", c.yarn.beta_fast},
          {"beta_slow", c.yarn.beta_slow},
          {"original_max_position_embeddings", c.yarn.original_max_position_embeddings}};
}

void put_token_ids(Json& j, const ModelConfig& c) {
  j["bos_token_id"] = c.bos_token_id;
  j["eos_token_id"] = c.eos_token_id;
  if (c.pad_token_id) j["pad_token_id"] = *c.pad_token_id;
  if (c.image_token_id) j["image_token_id"] = *c.image_token_id;
}

Json quantization_json(const ModelConfig& c) {
  return {{"quant_method", "fp8"},
          {"fmt", "e4m3"},
          {"activation_scheme", "dynamic"},
          {"weight_block_size", {c.fp8_block, c.fp8_block}},
          {"scale_fmt", "ue8m0"}};
}

Json v4_json(const ModelConfig& c) {
  Json j;
  j["architectures"] = {"DeepseekV4ForCausalLM"};
  j["model_type"] = "deepseek_v4";
  j["torch_dtype"] = "bfloat16";
  put_token_ids(j, c);
  put_common(j, c);
  j["num_hash_layers"] = c.num_hash_layers;
  if (c.yarn.original_max_position_embeddings > 0) j["rope_scaling"] = yarn_json(c, "type");
  if (!c.expert_dtype.empty()) j["expert_dtype"] = c.expert_dtype;
  j["quantization_config"] = quantization_json(c);
  return j;
}

void put_v41_text(Json& j, const ModelConfig& c) {
  j["kv_source_layer_ids"] = c.kv_source_layer_ids;
  j["index_source_layer_ids"] = c.index_source_layer_ids;
  if (c.candidate_source_layer_id) {
    j["candidate_source_layer_id"] = *c.candidate_source_layer_id;
    j["candidate_topk_blocks"] = c.candidate_topk_blocks;
    j["candidate_block_size"] = c.candidate_block_size;
  }
  if (c.gate_temp != 1) j["gate_temp"] = c.gate_temp;
  j["engram_layer_ids"] = c.engram.layer_ids;
  j["engram_num_embeddings"] = c.engram.num_embeddings;
  j["engram_max_ngram_size"] = c.engram.max_ngram_size;
  j["engram_vocab_size"] = c.engram.vocab_size;
  j["engram_n_heads"] = c.engram.n_heads;
  j["engram_head_dim"] = c.engram.head_dim;
  j["engram_pad_token_id"] = c.engram.pad_token_id;
  j["engram_compressed_vocab_size"] = c.engram.compressed_vocab_size;
  j["dspark_block_size"] = c.dspark.block_size;
  j["dspark_noise_token_id"] = c.dspark.noise_token_id;
  j["dspark_target_layer_ids"] = c.dspark.target_layer_ids;
  j["dspark_markov_rank"] = c.dspark.markov_rank;
  j["dspark_n_routed_experts"] = c.dspark.n_routed_experts;
  j["dspark_num_experts_per_tok"] = c.dspark.num_experts_per_tok;
}

Json v41_json(const ModelConfig& c) {
  Json j;
  j["architectures"] = {"DeepseekV41ForCausalLM"};
  j["model_type"] = "deepseek_v41";
  j["dtype"] = "bfloat16";
  put_token_ids(j, c);
  j["quantization_config"] = quantization_json(c);
  if (!c.expert_dtype.empty()) j["quantization_config"]["expert_dtype"] = c.expert_dtype;
  Json& text = j["text_config"];
  text["model_type"] = "deepseek_v41_text";
  put_common(text, c);
  if (c.yarn.original_max_position_embeddings > 0) text["rope_scaling"] = yarn_json(c, "rope_type");
  put_v41_text(text, c);
  if (c.has_vision) j["vision_config"] = {{"model_type", "deepseek_v41_vision"}};
  return j;
}

}  // namespace

std::string to_hf_config_json(const ModelConfig& config) {
  const Json j = config.family == ModelFamily::V4 ? v4_json(config) : v41_json(config);
  return j.dump(2) + "\n";
}

}  // namespace lethe
