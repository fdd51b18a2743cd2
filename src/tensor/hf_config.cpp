#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/json_py.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "tensor/config_faults.h"
#include "tensor/json_fields.h"
#include "tensor/model_config.h"

namespace lethe {

namespace {

using internal::JsonFields;

constexpr size_t kMaxConfigBytes = size_t{16} << 20;
constexpr JsonLimits kConfigLimits = {.depth = 32};

Json parse_object(std::string_view text, const std::string& path) {
  if (text.size() > kMaxConfigBytes) {
    throw LoadError("{}: {} bytes are too many for a config.json; at most {} are read.", path,
                    text.size(), kMaxConfigBytes);
  }
  Json root;
  try {
    root = parse_json(text, kConfigLimits);
  } catch (const JsonError& error) {
    throw LoadError("{}: not a valid config.json. {}", path, error.what());
  }
  if (!root.is_object()) {
    throw LoadError("{}: not a config.json: it holds no JSON object.", path);
  }
  return root;
}

/// Value of a string field, or nothing.
std::string text_of(const Json& root, const char* name) {
  const auto it = root.find(name);
  return it != root.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool names_architecture(const Json& root, std::string_view name) {
  const auto it = root.find("architectures");
  if (it == root.end() || !it->is_array()) return false;
  return std::any_of(it->begin(), it->end(),
                     [name](const Json& item) { return item.is_string() && item == name; });
}

ModelFamily family_of(const Json& root, const std::string& path) {
  const std::string type = text_of(root, "model_type");
  if (type == "deepseek_v4") return ModelFamily::V4;
  if (type == "deepseek_v41") return ModelFamily::V41;
  if (type.empty() && names_architecture(root, "DeepseekV4ForCausalLM")) return ModelFamily::V4;
  if (type.empty() && names_architecture(root, "DeepseekV41ForCausalLM")) return ModelFamily::V41;
  if (root.contains("n_layers") && root.contains("dim")) {
    throw LoadError(
        "{}: this is the configuration of DeepSeek's inference code. Lethe reads the config.json "
        "that lies beside the weights on Hugging Face.",
        path);
  }
  throw LoadError(
      "{}: model_type is {}, expected \"deepseek_v4\" or \"deepseek_v41\". Lethe runs the "
      "DeepSeek V4 family only.",
      path, type.empty() ? "missing" : '"' + printable(type, 60) + '"');
}

/// YaRN of the layers with a compression ratio; absent or null: plain RoPE.
void read_rope_scaling(JsonFields& fields, ModelConfig& c, std::vector<std::string>& unknown) {
  if (fields.has("rope_parameters")) fields.fault("rope_parameters", "rope_scaling in its place");
  fields.ignore({"rope_scaling", "rope_parameters"});
  if (!fields.has("rope_scaling")) return;
  JsonFields rope = fields.child("rope_scaling");
  rope.expect_text("type", {"yarn"});
  rope.expect_text("rope_type", {"yarn"});
  if (!rope.has("type") && !rope.has("rope_type")) rope.fault("type", "yarn");
  rope.read("factor", c.yarn.factor);
  rope.read("beta_fast", c.yarn.beta_fast);
  rope.read("beta_slow", c.yarn.beta_slow);
  rope.read("original_max_position_embeddings", c.yarn.original_max_position_embeddings);
  if (rope.has("original_max_position_embeddings") &&
      c.yarn.original_max_position_embeddings == 0) {
    rope.fault("original_max_position_embeddings", "at least 1");
  }
  rope.append_unknown(unknown);
}

void read_quantization(JsonFields& fields, ModelConfig& c, std::vector<std::string>& unknown) {
  c.fp8_block = c.family == ModelFamily::V4 ? 128 : 32;
  fields.ignore({"quantization_config"});
  if (!fields.has("quantization_config")) return;
  JsonFields quantization = fields.child("quantization_config");
  quantization.expect_text("quant_method", {"fp8"});
  quantization.expect_text("fmt", {"e4m3"});
  quantization.expect_text("activation_scheme", {"dynamic"});
  quantization.expect_text("scale_fmt", {"ue8m0"});
  quantization.read_optional("expert_dtype", c.expert_dtype);
  std::vector<int64_t> block = {c.fp8_block, c.fp8_block};
  quantization.read_optional("weight_block_size", block);
  if (block.size() == 2 && block[0] == block[1]) {
    c.fp8_block = block[0];
  } else {
    quantization.fault("weight_block_size", "two equal numbers");
  }
  quantization.append_unknown(unknown);
}

/// One clamp for all layers, routed and shared experts.
void read_swiglu_limit(JsonFields& fields, ModelConfig& c) {
  double limit = 0;
  fields.read("swiglu_limit", limit);
  if (c.num_hidden_layers < 1 || c.num_hidden_layers > internal::kMaxLayers) return;
  c.swiglu_limit.assign(static_cast<size_t>(c.num_hidden_layers), limit);
  c.swiglu_limit_shared = c.swiglu_limit;
}

void read_attention(JsonFields& f, ModelConfig& c) {
  f.read("num_attention_heads", c.num_attention_heads);
  f.expect_int("num_key_value_heads", 1);
  f.read("head_dim", c.head_dim);
  f.read("qk_rope_head_dim", c.qk_rope_head_dim);
  f.read("q_lora_rank", c.q_lora_rank);
  f.read("o_groups", c.o_groups);
  f.read("o_lora_rank", c.o_lora_rank);
  f.read("sliding_window", c.sliding_window);
  f.read("compress_ratios", c.compress_ratios);
  f.read("rope_theta", c.rope_theta);
  f.read("compress_rope_theta", c.compress_rope_theta);
  f.read("index_n_heads", c.index_n_heads);
  f.read("index_head_dim", c.index_head_dim);
  f.read("index_topk", c.index_topk);
  f.expect_bool("attention_bias", false);
  f.ignore({"attention_dropout"});
}

void read_experts(JsonFields& f, ModelConfig& c) {
  f.read("n_routed_experts", c.n_routed_experts);
  f.read_optional("n_shared_experts", c.n_shared_experts);
  f.read("num_experts_per_tok", c.num_experts_per_tok);
  f.read("moe_intermediate_size", c.moe_intermediate_size);
  f.read("scoring_func", c.scoring_func);
  f.expect_text("topk_method", {"noaux_tc"});
  f.read("routed_scaling_factor", c.routed_scaling_factor);
  f.expect_text("hidden_act", {"silu"});
  read_swiglu_limit(f, c);
}

/// The fields that V4 and the text_config of V4.1 share.
void read_common(JsonFields& f, ModelConfig& c, std::vector<std::string>& unknown) {
  f.read("vocab_size", c.vocab_size);
  f.read("hidden_size", c.hidden_size);
  f.read("num_hidden_layers", c.num_hidden_layers);
  f.read("num_nextn_predict_layers", c.num_nextn_predict_layers);
  f.read("max_position_embeddings", c.max_position_embeddings);
  read_attention(f, c);
  read_experts(f, c);
  read_rope_scaling(f, c, unknown);
  f.read("hc_mult", c.hc_mult);
  f.read("hc_sinkhorn_iters", c.hc_sinkhorn_iters);
  f.read_optional("hc_eps", c.hc_eps);
  f.expect_bool("tie_word_embeddings", false);
  f.ignore({"initializer_range", "use_cache", "transformers_version", "torch_dtype", "dtype",
            "architectures", "model_type"});
}

void read_token_ids(JsonFields& f, ModelConfig& c) {
  f.read_optional("bos_token_id", c.bos_token_id);
  f.read_optional("eos_token_id", c.eos_token_id);
  for (const auto& [name, target] : {std::pair{"pad_token_id", &c.pad_token_id},
                                     std::pair{"image_token_id", &c.image_token_id}}) {
    f.ignore({name});
    if (!f.has(name)) continue;
    target->emplace(0);
    f.read(name, **target);
  }
}

void read_v4(JsonFields& root, ModelConfig& c) {
  read_common(root, c, c.unknown_fields);
  root.read("num_hash_layers", c.num_hash_layers);
  root.read_optional("rms_norm_eps", c.rms_norm_eps);
  root.read("norm_topk_prob", c.norm_topk_prob);
  read_token_ids(root, c);
  root.read_optional("expert_dtype", c.expert_dtype);
  read_quantization(root, c, c.unknown_fields);
  root.append_unknown(c.unknown_fields);
}

void read_engram(JsonFields& f, EngramConfig& engram) {
  f.read("engram_layer_ids", engram.layer_ids);
  f.read("engram_num_embeddings", engram.num_embeddings);
  f.read("engram_max_ngram_size", engram.max_ngram_size);
  f.read("engram_vocab_size", engram.vocab_size);
  f.read("engram_n_heads", engram.n_heads);
  f.read("engram_head_dim", engram.head_dim);
  f.read("engram_pad_token_id", engram.pad_token_id);
  f.read("engram_compressed_vocab_size", engram.compressed_vocab_size);
}

void read_dspark(JsonFields& f, DSparkConfig& dspark) {
  f.read("dspark_block_size", dspark.block_size);
  f.read("dspark_noise_token_id", dspark.noise_token_id);
  f.read("dspark_target_layer_ids", dspark.target_layer_ids);
  f.read("dspark_markov_rank", dspark.markov_rank);
  f.read("dspark_n_routed_experts", dspark.n_routed_experts);
  f.read("dspark_num_experts_per_tok", dspark.num_experts_per_tok);
}

void read_v41_text(JsonFields& f, ModelConfig& c) {
  read_common(f, c, c.unknown_fields);
  f.read("rms_norm_eps", c.rms_norm_eps);
  f.read_optional("norm_topk_prob", c.norm_topk_prob);
  f.read_optional("gate_temp", c.gate_temp);
  f.read("kv_source_layer_ids", c.kv_source_layer_ids);
  f.read("index_source_layer_ids", c.index_source_layer_ids);
  f.ignore({"candidate_source_layer_id", "candidate_topk_blocks", "candidate_block_size"});
  if (f.has("candidate_source_layer_id")) {
    c.candidate_source_layer_id.emplace(-1);
    f.read("candidate_source_layer_id", *c.candidate_source_layer_id);
    f.read("candidate_topk_blocks", c.candidate_topk_blocks);
    f.read("candidate_block_size", c.candidate_block_size);
  }
  read_engram(f, c.engram);
  read_dspark(f, c.dspark);
  f.append_unknown(c.unknown_fields);
}

void read_v41(JsonFields& root, ModelConfig& c) {
  JsonFields text = root.child("text_config");
  read_v41_text(text, c);
  read_token_ids(root, c);
  read_quantization(root, c, c.unknown_fields);
  root.expect_bool("tie_word_embeddings", false);
  root.ignore({"architectures", "model_type", "dtype", "torch_dtype", "transformers_version",
               "vision_config"});
  c.has_vision = root.has("vision_config");
  root.append_unknown(c.unknown_fields);
}

}  // namespace

ModelConfig parse_hf_config(std::string_view json, const std::string& path) {
  const Json root = parse_object(json, path);
  ModelConfig config;
  config.family = family_of(root, path);
  config.name = std::filesystem::path(path).parent_path().filename().string();
  std::vector<std::string> faults;
  JsonFields fields(root, "", faults);
  if (config.family == ModelFamily::V4) {
    read_v4(fields, config);
  } else {
    read_v41(fields, config);
  }
  internal::fit_compress_ratios(config, faults);
  internal::throw_config_faults(config, std::move(faults), path);
  return config;
}

ModelConfig read_hf_config(const std::string& path) {
  const MappedFile file = MappedFile::open(path);
  const auto bytes = file.bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ModelConfig config = parse_hf_config(text, path);
  config.name = std::filesystem::absolute(path).parent_path().filename().string();
  return config;
}

}  // namespace lethe
