#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lethe {

enum class ModelFamily { V4, V41 };

/// YaRN parameters of the layers with a compression ratio other than 0.
struct YarnConfig {
  double factor = 1;
  double beta_fast = 32;
  double beta_slow = 1;
  int64_t original_max_position_embeddings = 0;  ///< 0: plain RoPE.
};

/// Engram n-gram memory (V4.1). Source: spec/deepseek-v4.1.md section 6.
struct EngramConfig {
  std::vector<int64_t> layer_ids;
  std::vector<int64_t> num_embeddings;  ///< Table rows, one entry per Engram layer.
  int64_t max_ngram_size = 0;
  int64_t vocab_size = 0;  ///< Seeds the prime search.
  int64_t n_heads = 0;     ///< Hash heads per n-gram size.
  int64_t head_dim = 0;    ///< Values per table row.
  int64_t pad_token_id = 0;
  int64_t compressed_vocab_size = 0;
  /// Rows read per token: (max_ngram_size - 1) * n_heads.
  int64_t columns() const { return (max_ngram_size - 1) * n_heads; }
};

/// DSpark draft head (V4.1). Source: spec/deepseek-v4.1.md section 7.
struct DSparkConfig {
  int64_t block_size = 0;
  int64_t noise_token_id = 0;
  std::vector<int64_t> target_layer_ids;
  int64_t markov_rank = 0;
  int64_t n_routed_experts = 0;
  int64_t num_experts_per_tok = 0;
};

/// Everything a checkpoint states about its model: from Hugging Face config.json or GGUF metadata.
/// Field names are config.json's. Every number is range-checked by the readers before it sizes
/// anything. Source: spec/deepseek-v4.md section 1, spec/deepseek-v4.1.md section 1.
struct ModelConfig {
  ModelFamily family = ModelFamily::V4;
  std::string name;  ///< For display: general.name, or the directory's name.

  int64_t vocab_size = 0;
  int64_t hidden_size = 0;        ///< D
  int64_t num_hidden_layers = 0;  ///< L, draft blocks not counted
  int64_t num_attention_heads = 0;
  int64_t head_dim = 0;          ///< rope part included
  int64_t qk_rope_head_dim = 0;  ///< the last dims of a head
  int64_t q_lora_rank = 0;
  int64_t o_groups = 0;
  int64_t o_lora_rank = 0;
  int64_t sliding_window = 0;  ///< includes the query's own position
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;

  double rope_theta = 10000;
  double compress_rope_theta = 160000;
  YarnConfig yarn;
  /// One per layer, then one per draft block: 0 (window only), V4 4 | 128, V4.1 1 | 2.
  std::vector<int64_t> compress_ratios;

  int64_t index_n_heads = 0;
  int64_t index_head_dim = 0;
  int64_t index_topk = 0;

  int64_t n_routed_experts = 0;
  int64_t n_shared_experts = 1;
  int64_t num_experts_per_tok = 0;
  int64_t moe_intermediate_size = 0;
  int64_t num_hash_layers = 0;  ///< V4: layers 0..n-1 route by token id
  std::string scoring_func = "sqrtsoftplus";
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1;
  double gate_temp = 1;
  /// Clamp of gate and up in each layer (drafts use the last entry); <= 0 disables.
  std::vector<double> swiglu_limit;
  std::vector<double> swiglu_limit_shared;

  int64_t hc_mult = 0;
  int64_t hc_sinkhorn_iters = 0;
  double hc_eps = 1e-6;

  int64_t num_nextn_predict_layers = 0;  ///< draft blocks: V4 MTP, V4.1 DSpark stages

  /// Block edge of FP8 weights and group of the activation quantizer: 128 (V4), 32 (V4.1).
  int64_t fp8_block = 128;
  std::string expert_dtype;  ///< "fp4", "fp8" or empty; the tensors decide.

  // V4.1 only.
  std::vector<int64_t> kv_source_layer_ids;
  std::vector<int64_t> index_source_layer_ids;
  std::optional<int64_t> candidate_source_layer_id;
  int64_t candidate_topk_blocks = 0;
  int64_t candidate_block_size = 0;
  EngramConfig engram;
  DSparkConfig dspark;
  bool has_vision = false;

  int64_t bos_token_id = 0;
  int64_t eos_token_id = 1;
  std::optional<int64_t> pad_token_id;
  std::optional<int64_t> image_token_id;

  /// Fields of the file that Lethe does not know, as dotted paths. Reported, never an error.
  std::vector<std::string> unknown_fields;

  int64_t compress_ratio(int64_t layer) const {
    return compress_ratios.at(static_cast<size_t>(layer));
  }
};

/// Reads a Hugging Face config.json (V4 or V4.1). All faults are listed in one LoadError.
ModelConfig read_hf_config(const std::string& path);
ModelConfig parse_hf_config(std::string_view json, const std::string& path);

class GgufFile;
/// Reads `deepseek4.*` (and `deepseek41.*`) metadata. spec/formats.md section 3.
ModelConfig read_gguf_config(const GgufFile& gguf);

/// Range and consistency rules common to both readers (spec/formats.md 2.2 rule 8): returns one
/// line per fault.
std::vector<std::string> config_faults(const ModelConfig& config);

/// The published configurations, by the name that `synth --preset` and `plan` use: "v4-flash",
/// "v4-pro", "v4.1-flash", "tiny" and "v4.1-tiny" (a few MB each). Throws UsageError listing the
/// names.
ModelConfig preset_config(std::string_view name);
std::vector<std::string_view> preset_names();

/// The Hugging Face config.json text of a config (synth; round-trips through parse_hf_config).
std::string to_hf_config_json(const ModelConfig& config);

}  // namespace lethe
