#include <fmt/format.h>

#include <array>
#include <string>

#include "base/error.h"
#include "tensor/model_config.h"

namespace lethe {

namespace {

/// Layers `begin`..num_hidden_layers-1 alternate between ratio 4 (even) and 128 (odd); the draft
/// blocks have ratio 0.
void append_alternating_ratios(ModelConfig& c) {
  for (auto layer = static_cast<int64_t>(c.compress_ratios.size()); layer < c.num_hidden_layers;
       ++layer) {
    c.compress_ratios.push_back(layer % 2 == 0 ? 4 : 128);
  }
  c.compress_ratios.insert(c.compress_ratios.end(), static_cast<size_t>(c.num_nextn_predict_layers),
                           0);
}

void fill_swiglu_limit(ModelConfig& c, double limit) {
  c.swiglu_limit.assign(static_cast<size_t>(c.num_hidden_layers), limit);
  c.swiglu_limit_shared = c.swiglu_limit;
}

/// What V4-Pro, V4-Flash and V4.1-Flash have in common.
ModelConfig common_config() {
  ModelConfig c;
  c.vocab_size = 129280;
  c.head_dim = 512;
  c.qk_rope_head_dim = 64;
  c.o_lora_rank = 1024;
  c.sliding_window = 128;
  c.max_position_embeddings = 1048576;
  c.rope_theta = 10000;
  c.compress_rope_theta = 160000;
  c.yarn.factor = 16;
  c.yarn.original_max_position_embeddings = 65536;
  c.index_head_dim = 128;
  c.num_experts_per_tok = 6;
  c.hc_mult = 4;
  c.hc_sinkhorn_iters = 20;
  c.expert_dtype = "fp4";
  return c;
}

/// Source: spec/deepseek-v4.md section 1, column Pro.
ModelConfig v4_pro() {
  ModelConfig c = common_config();
  c.name = "DeepSeek-V4-Pro";
  c.hidden_size = 7168;
  c.num_hidden_layers = 61;
  c.num_hash_layers = 3;
  c.num_nextn_predict_layers = 1;
  c.num_attention_heads = 128;
  c.q_lora_rank = 1536;
  c.o_groups = 16;
  c.index_n_heads = 64;
  c.index_topk = 1024;
  c.n_routed_experts = 384;
  c.moe_intermediate_size = 3072;
  c.routed_scaling_factor = 2.5;
  c.compress_ratios = {128, 128};
  append_alternating_ratios(c);
  fill_swiglu_limit(c, 10);
  return c;
}

/// Source: spec/deepseek-v4.md section 1, column Flash.
ModelConfig v4_flash() {
  ModelConfig c = common_config();
  c.name = "DeepSeek-V4-Flash";
  c.hidden_size = 4096;
  c.num_hidden_layers = 43;
  c.num_hash_layers = 3;
  c.num_nextn_predict_layers = 1;
  c.num_attention_heads = 64;
  c.q_lora_rank = 1024;
  c.o_groups = 8;
  c.index_n_heads = 64;
  c.index_topk = 512;
  c.n_routed_experts = 256;
  c.moe_intermediate_size = 2048;
  c.routed_scaling_factor = 1.5;
  c.compress_ratios = {0, 0};
  append_alternating_ratios(c);
  fill_swiglu_limit(c, 10);
  return c;
}

/// Source: spec/deepseek-v4.1.md section 1.
ModelConfig v41_flash() {
  ModelConfig c = common_config();
  c.family = ModelFamily::V41;
  c.name = "DeepSeek-V4.1-Flash";
  c.hidden_size = 5120;
  c.num_hidden_layers = 40;
  c.num_nextn_predict_layers = 3;
  c.num_attention_heads = 64;
  c.q_lora_rank = 1280;
  c.o_groups = 8;
  c.rms_norm_eps = 1e-20;
  c.index_n_heads = 32;
  c.index_topk = 512;
  c.n_routed_experts = 384;
  c.moe_intermediate_size = 2304;
  c.routed_scaling_factor = 1.5;
  c.fp8_block = 32;
  c.compress_ratios = {0, 0};
  c.compress_ratios.insert(c.compress_ratios.end(), 18, 2);
  c.compress_ratios.insert(c.compress_ratios.end(), 20, 1);
  c.compress_ratios.insert(c.compress_ratios.end(), 3, 0);
  c.kv_source_layer_ids = {2, 8, 14, 20};
  c.index_source_layer_ids = {2, 8, 14, 20, 24, 28, 32, 36};
  c.candidate_source_layer_id = 20;
  c.candidate_topk_blocks = 2048;
  c.candidate_block_size = 8;
  c.engram = {{1, 14}, {384006168, 384016682}, 4, 16000000, 8, 256, 2, 99092};
  c.dspark = {5, 128799, {37, 38, 39}, 256, 128, 3};
  c.has_vision = true;
  c.pad_token_id = 2;
  c.image_token_id = 129264;
  fill_swiglu_limit(c, 10);
  return c;
}

/// A V4 of a few MB in which every mechanism is active: ratios 0, 4 and 128, layers routed by
/// token id and by score, a selection of index_topk that really cuts, one MTP block. Rows are
/// multiples of 256, so that every block encoding applies.
ModelConfig v4_tiny() {
  ModelConfig c = common_config();
  c.name = "lethe-tiny";
  c.vocab_size = 320;
  c.hidden_size = 256;
  c.num_hidden_layers = 5;
  c.num_hash_layers = 2;
  c.num_nextn_predict_layers = 1;
  c.num_attention_heads = 8;
  c.head_dim = 128;
  c.q_lora_rank = 256;
  c.o_groups = 2;
  c.o_lora_rank = 128;
  c.max_position_embeddings = 65536;
  c.yarn.original_max_position_embeddings = 4096;
  c.index_n_heads = 8;
  c.index_head_dim = 128;
  c.index_topk = 16;
  c.n_routed_experts = 8;
  c.num_experts_per_tok = 3;
  c.moe_intermediate_size = 256;
  c.routed_scaling_factor = 1.5;
  c.compress_ratios = {0, 4, 128, 4, 128, 0};
  c.pad_token_id = 2;
  fill_swiglu_limit(c, 10);
  return c;
}

/// A V4.1 of a few MB: KV sources of ratio 2 and 1, an index source without keys of its own, one
/// restricted to candidate blocks, two Engram layers, two DSpark stages. The ids and the compressed
/// vocabulary are those of the tokenizer that `synth` writes for 320 entries.
ModelConfig v41_tiny() {
  ModelConfig c = v4_tiny();
  c.family = ModelFamily::V41;
  c.name = "lethe-tiny-v4.1";
  c.num_hidden_layers = 8;
  c.num_hash_layers = 0;
  c.num_nextn_predict_layers = 2;
  c.rms_norm_eps = 1e-20;
  c.fp8_block = 32;
  c.compress_ratios = {0, 2, 2, 2, 1, 1, 1, 1, 0, 0};
  c.kv_source_layer_ids = {1, 4};
  c.index_source_layer_ids = {1, 3, 4, 6};
  c.candidate_source_layer_id = 4;
  c.candidate_topk_blocks = 8;
  c.candidate_block_size = 4;
  c.engram = {{1, 5}, {2914, 3746}, 4, 200, 4, 64, 2, 265};
  c.dspark = {5, 302, {5, 6, 7}, 64, 8, 2};
  c.image_token_id = 319;
  fill_swiglu_limit(c, 10);
  return c;
}

struct Preset {
  std::string_view name;
  ModelConfig (*make)();
};
constexpr std::array<Preset, 5> kPresets = {{{"v4-pro", v4_pro},
                                             {"v4-flash", v4_flash},
                                             {"v4.1-flash", v41_flash},
                                             {"tiny", v4_tiny},
                                             {"v4.1-tiny", v41_tiny}}};

}  // namespace

std::vector<std::string_view> preset_names() {
  std::vector<std::string_view> names;
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

ModelConfig preset_config(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset.make();
  }
  throw UsageError("There is no preset '{}'. The presets are: {}.", name,
                   fmt::join(preset_names(), ", "));
}

}  // namespace lethe
