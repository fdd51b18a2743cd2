#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/model_config.h"

namespace lethe {
namespace {

void expect_equal(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.family, b.family);
  EXPECT_EQ(a.vocab_size, b.vocab_size);
  EXPECT_EQ(a.hidden_size, b.hidden_size);
  EXPECT_EQ(a.num_hidden_layers, b.num_hidden_layers);
  EXPECT_EQ(a.num_attention_heads, b.num_attention_heads);
  EXPECT_EQ(a.head_dim, b.head_dim);
  EXPECT_EQ(a.qk_rope_head_dim, b.qk_rope_head_dim);
  EXPECT_EQ(a.q_lora_rank, b.q_lora_rank);
  EXPECT_EQ(a.o_groups, b.o_groups);
  EXPECT_EQ(a.o_lora_rank, b.o_lora_rank);
  EXPECT_EQ(a.sliding_window, b.sliding_window);
  EXPECT_EQ(a.max_position_embeddings, b.max_position_embeddings);
  EXPECT_EQ(a.rms_norm_eps, b.rms_norm_eps);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.compress_rope_theta, b.compress_rope_theta);
  EXPECT_EQ(a.yarn.factor, b.yarn.factor);
  EXPECT_EQ(a.yarn.beta_fast, b.yarn.beta_fast);
  EXPECT_EQ(a.yarn.beta_slow, b.yarn.beta_slow);
  EXPECT_EQ(a.yarn.original_max_position_embeddings, b.yarn.original_max_position_embeddings);
  EXPECT_EQ(a.compress_ratios, b.compress_ratios);
  EXPECT_EQ(a.index_n_heads, b.index_n_heads);
  EXPECT_EQ(a.index_head_dim, b.index_head_dim);
  EXPECT_EQ(a.index_topk, b.index_topk);
  EXPECT_EQ(a.n_routed_experts, b.n_routed_experts);
  EXPECT_EQ(a.n_shared_experts, b.n_shared_experts);
  EXPECT_EQ(a.num_experts_per_tok, b.num_experts_per_tok);
  EXPECT_EQ(a.moe_intermediate_size, b.moe_intermediate_size);
  EXPECT_EQ(a.num_hash_layers, b.num_hash_layers);
  EXPECT_EQ(a.scoring_func, b.scoring_func);
  EXPECT_EQ(a.norm_topk_prob, b.norm_topk_prob);
  EXPECT_EQ(a.routed_scaling_factor, b.routed_scaling_factor);
  EXPECT_EQ(a.gate_temp, b.gate_temp);
  EXPECT_EQ(a.swiglu_limit, b.swiglu_limit);
  EXPECT_EQ(a.swiglu_limit_shared, b.swiglu_limit_shared);
  EXPECT_EQ(a.hc_mult, b.hc_mult);
  EXPECT_EQ(a.hc_sinkhorn_iters, b.hc_sinkhorn_iters);
  EXPECT_EQ(a.hc_eps, b.hc_eps);
  EXPECT_EQ(a.num_nextn_predict_layers, b.num_nextn_predict_layers);
  EXPECT_EQ(a.fp8_block, b.fp8_block);
  EXPECT_EQ(a.expert_dtype, b.expert_dtype);
  EXPECT_EQ(a.bos_token_id, b.bos_token_id);
  EXPECT_EQ(a.eos_token_id, b.eos_token_id);
  EXPECT_EQ(a.pad_token_id, b.pad_token_id);
  EXPECT_EQ(a.image_token_id, b.image_token_id);
}

void expect_v41_equal(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(a.kv_source_layer_ids, b.kv_source_layer_ids);
  EXPECT_EQ(a.index_source_layer_ids, b.index_source_layer_ids);
  EXPECT_EQ(a.candidate_source_layer_id, b.candidate_source_layer_id);
  EXPECT_EQ(a.candidate_topk_blocks, b.candidate_topk_blocks);
  EXPECT_EQ(a.candidate_block_size, b.candidate_block_size);
  EXPECT_EQ(a.engram.layer_ids, b.engram.layer_ids);
  EXPECT_EQ(a.engram.num_embeddings, b.engram.num_embeddings);
  EXPECT_EQ(a.engram.max_ngram_size, b.engram.max_ngram_size);
  EXPECT_EQ(a.engram.vocab_size, b.engram.vocab_size);
  EXPECT_EQ(a.engram.n_heads, b.engram.n_heads);
  EXPECT_EQ(a.engram.head_dim, b.engram.head_dim);
  EXPECT_EQ(a.engram.pad_token_id, b.engram.pad_token_id);
  EXPECT_EQ(a.engram.compressed_vocab_size, b.engram.compressed_vocab_size);
  EXPECT_EQ(a.dspark.block_size, b.dspark.block_size);
  EXPECT_EQ(a.dspark.noise_token_id, b.dspark.noise_token_id);
  EXPECT_EQ(a.dspark.target_layer_ids, b.dspark.target_layer_ids);
  EXPECT_EQ(a.dspark.markov_rank, b.dspark.markov_rank);
  EXPECT_EQ(a.dspark.n_routed_experts, b.dspark.n_routed_experts);
  EXPECT_EQ(a.dspark.num_experts_per_tok, b.dspark.num_experts_per_tok);
  EXPECT_EQ(a.has_vision, b.has_vision);
}

TEST(HfConfigWriter, EveryPresetComesBackAsItWas) {
  for (const std::string_view name : preset_names()) {
    SCOPED_TRACE(name);
    const ModelConfig written = preset_config(name);
    EXPECT_TRUE(config_faults(written).empty()) << config_faults(written).front();
    const ModelConfig read = parse_hf_config(to_hf_config_json(written), "config.json");
    EXPECT_TRUE(read.unknown_fields.empty()) << read.unknown_fields.front();
    expect_equal(written, read);
    if (written.family == ModelFamily::V41) expect_v41_equal(written, read);
  }
}

TEST(HfConfigWriter, RefusesWhatConfigJsonCannotSay) {
  ModelConfig config = preset_config("tiny");
  config.swiglu_limit.back() = 7;
  EXPECT_THROW(to_hf_config_json(config), Error);
}

}  // namespace
}  // namespace lethe
