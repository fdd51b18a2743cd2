#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/config_faults.h"
#include "tensor/gguf.h"
#include "tensor/gguf_keys.h"
#include "tensor/model_config.h"

// Metadata of `deepseek4` and `deepseek41` GGUF files. Source: spec/formats.md section 3.

namespace lethe {

namespace {

using internal::GgufKeys;

std::string path_of(const GgufFile& gguf) {
  return gguf.files().empty() ? "GGUF" : gguf.files().front().path();
}

ModelFamily family_of(const GgufFile& gguf, const std::string& path) {
  const GgufValue* value = gguf.value("general.architecture");
  const auto name = value == nullptr ? std::nullopt : value->as_string();
  if (name == "deepseek4") return ModelFamily::V4;
  if (name == "deepseek41") return ModelFamily::V41;
  if (name == "dflash") {
    throw LoadError(
        "{}: this GGUF holds a DSpark draft head only (general.architecture is \"dflash\"). Open "
        "the model's own file.",
        path);
  }
  throw LoadError(
      "{}: general.architecture is {}, expected \"deepseek4\" or \"deepseek41\". Lethe runs the "
      "DeepSeek V4 family only.",
      path, name ? '"' + printable(*name, 60) + '"' : "no string");
}

bool has_draft_tensors(const GgufFile& gguf, int64_t block) {
  const std::string stem = fmt::format("blk.{}.nextn.", block);
  return std::any_of(gguf.tensors().begin(), gguf.tensors().end(),
                     [&stem](const TensorView& t) { return t.name.starts_with(stem); });
}

/// block_count counts draft blocks too where the file holds them; nextn_predict_layers alone proves
/// nothing.
void read_layers(GgufKeys& keys, const GgufFile& gguf, ModelConfig& c) {
  keys.read({"block_count"}, c.num_hidden_layers);
  int64_t drafts = 0;
  keys.read_optional({"nextn_predict_layers"}, drafts);
  if (drafts < 1 || drafts > internal::kMaxLayers) return;
  if (has_draft_tensors(gguf, c.num_hidden_layers - 1) && c.num_hidden_layers > drafts) {
    c.num_hidden_layers -= drafts;
    c.num_nextn_predict_layers = drafts;
  } else if (gguf.find("mtp.0.e_proj.weight") != nullptr) {
    c.num_nextn_predict_layers = drafts;
  }
}

void read_rope(GgufKeys& keys, ModelConfig& c) {
  keys.read({"rope.dimension_count"}, c.qk_rope_head_dim);
  keys.read({"rope.freq_base"}, c.rope_theta);
  keys.read({"attention.compress_rope_freq_base"}, c.compress_rope_theta);
  std::string type = keys.has({"rope.scaling.factor"}) ? "yarn" : "none";
  keys.read_optional({"rope.scaling.type"}, type);
  if (type == "none") return;
  if (type != "yarn") return keys.fault({"rope.scaling.type"}, "yarn");
  keys.read({"rope.scaling.factor"}, c.yarn.factor);
  keys.read({"rope.scaling.original_context_length"}, c.yarn.original_max_position_embeddings);
  keys.read_optional({"rope.scaling.yarn_beta_fast"}, c.yarn.beta_fast);
  keys.read_optional({"rope.scaling.yarn_beta_slow"}, c.yarn.beta_slow);
}

void read_attention(GgufKeys& keys, ModelConfig& c) {
  keys.read({"attention.head_count"}, c.num_attention_heads);
  keys.expect({"attention.head_count_kv"}, 1);
  keys.read({"attention.key_length"}, c.head_dim);
  keys.expect({"attention.value_length"}, c.head_dim);
  keys.read({"attention.q_lora_rank"}, c.q_lora_rank);
  keys.read({"attention.output_group_count"}, c.o_groups);
  keys.read({"attention.output_lora_rank"}, c.o_lora_rank);
  keys.read({"attention.sliding_window"}, c.sliding_window);
  keys.read({"attention.layer_norm_rms_epsilon"}, c.rms_norm_eps);
  keys.read({"attention.compress_ratios"}, c.compress_ratios);
  keys.read({"attention.indexer.head_count"}, c.index_n_heads);
  keys.read({"attention.indexer.key_length"}, c.index_head_dim);
  keys.read({"attention.indexer.top_k"}, c.index_topk);
}

/// One number, or one per layer that must all be the same.
void read_expert_width(GgufKeys& keys, ModelConfig& c) {
  const GgufKeys::Names names = {"expert_feed_forward_length"};
  if (!keys.is_array(names)) return keys.read(names, c.moe_intermediate_size);
  std::vector<int64_t> widths;
  keys.read(names, widths);
  if (widths.empty()) return;
  const bool equal = std::all_of(widths.begin(), widths.end(),
                                 [&widths](int64_t width) { return width == widths.front(); });
  if (!equal) return keys.fault(names, "the same number for all layers");
  c.moe_intermediate_size = widths.front();
}

/// A scalar for all layers, or an array with one for each (and for draft blocks after them).
void read_clamp(GgufKeys& keys, std::string_view name, const ModelConfig& c,
                std::vector<double>& out) {
  if (c.num_hidden_layers < 1 || c.num_hidden_layers > internal::kMaxLayers) return;
  const auto layers = static_cast<size_t>(c.num_hidden_layers);
  std::vector<double> limits;
  if (keys.is_array({name})) keys.read({name}, limits);
  if (limits.size() < layers) {
    double limit = 0;
    keys.read({name}, limit);
    limits.assign(layers, limit);
  }
  limits.resize(layers);
  out = std::move(limits);
}

void read_experts(GgufKeys& keys, ModelConfig& c) {
  constexpr int64_t kSqrtSoftplus = 4;
  keys.read({"expert_count"}, c.n_routed_experts);
  keys.read({"expert_used_count"}, c.num_experts_per_tok);
  keys.read_optional({"expert_shared_count"}, c.n_shared_experts);
  read_expert_width(keys, c);
  keys.expect({"expert_gating_func"}, kSqrtSoftplus);
  keys.read({"expert_weights_scale"}, c.routed_scaling_factor);
  keys.read_optional({"expert_weights_norm"}, c.norm_topk_prob);
  for (const std::string_view name : {"expert_group_count", "expert_group_used_count"}) {
    if (keys.has({name})) keys.expect({name}, 0);
  }
  read_clamp(keys, "swiglu_clamp_exp", c, c.swiglu_limit);
  c.swiglu_limit_shared = c.swiglu_limit;
  if (keys.has({"swiglu_clamp_shexp"})) {
    read_clamp(keys, "swiglu_clamp_shexp", c, c.swiglu_limit_shared);
  }
}

/// Layers that hold one of these tensors ("blk.N.NAME.weight"), for files that do not list them.
std::vector<int64_t> layers_with(const GgufFile& gguf, const ModelConfig& c,
                                 std::initializer_list<std::string_view> names) {
  std::vector<int64_t> layers;
  const int64_t count = std::min(c.num_hidden_layers, internal::kMaxLayers);
  for (int64_t layer = 0; layer < count; ++layer) {
    const bool holds = std::any_of(names.begin(), names.end(), [&](std::string_view name) {
      return gguf.find(fmt::format("blk.{}.{}.weight", layer, name)) != nullptr;
    });
    if (holds) layers.push_back(layer);
  }
  return layers;
}

void read_sources(GgufKeys& keys, const GgufFile& gguf, ModelConfig& c) {
  c.kv_source_layer_ids = layers_with(gguf, c, {"attn_compressor_kv"});
  c.index_source_layer_ids = layers_with(gguf, c, {"indexer.attn_q_b"});
  keys.read_optional({"attention.kv_source_layer_ids", "attention.kv_source_layers"},
                     c.kv_source_layer_ids);
  keys.read_optional({"attention.index_source_layer_ids", "attention.index_source_layers"},
                     c.index_source_layer_ids);
  const GgufKeys::Names source = {"attention.candidate_source_layer_id",
                                  "attention.candidate.source_layer",
                                  "attention.candidate_source_layer"};
  if (!keys.has(source)) return;
  c.candidate_source_layer_id.emplace(-1);
  keys.read(source, *c.candidate_source_layer_id);
  keys.read({"attention.candidate_topk_blocks", "attention.candidate.topk_blocks"},
            c.candidate_topk_blocks);
  keys.read({"attention.candidate_block_size", "attention.candidate.block_size"},
            c.candidate_block_size);
}

/// The pad token; of a file that states only its compressed id, a token that maps to it.
void read_engram_pad(GgufKeys& keys, EngramConfig& engram) {
  const GgufKeys::Names names = {"engram.pad_token_id", "engram.pad_id"};
  const GgufKeys::Names compressed_names = {"engram.pad_id_compressed"};
  if (keys.has(names) || !keys.has(compressed_names)) return keys.read(names, engram.pad_token_id);
  int64_t compressed = 0;
  std::vector<int64_t> map;
  keys.read(compressed_names, compressed);
  keys.read({"engram.token_map"}, map);
  const auto token = std::find(map.begin(), map.end(), compressed);
  if (token == map.end()) return keys.fault(compressed_names, "an entry of engram.token_map");
  engram.pad_token_id = token - map.begin();
}

void read_engram(GgufKeys& keys, EngramConfig& engram) {
  const GgufKeys::Names layers = {"engram.layer_ids", "engram.layers"};
  if (!keys.has(layers)) return;
  keys.read(layers, engram.layer_ids);
  keys.read({"engram.head_count", "engram.n_heads"}, engram.n_heads);
  keys.read({"engram.key_length", "engram.head_dim"}, engram.head_dim);
  keys.read({"engram.max_ngram_size"}, engram.max_ngram_size);
  keys.read({"engram.vocab_size"}, engram.vocab_size);
  keys.read({"engram.compressed_vocab_size"}, engram.compressed_vocab_size);
  keys.read({"engram.num_embeddings", "engram.rows"}, engram.num_embeddings);
  read_engram_pad(keys, engram);
  keys.ignore({"engram.token_map", "engram.primes", "engram.hash_primes", "engram.offsets",
               "engram.hash_offsets", "engram.multipliers", "engram.hash_multipliers",
               "engram.encoding"});
}

/// The vocabulary's size is stated, or that of the embedding.
void read_vocab_size(GgufKeys& keys, const GgufFile& gguf, ModelConfig& c) {
  const TensorView* embedding = gguf.find("token_embd.weight");
  if (keys.has({"vocab_size"}) || embedding == nullptr || embedding->shape.size() != 2) {
    keys.read({"vocab_size"}, c.vocab_size);
  } else {
    c.vocab_size = embedding->shape.front();
  }
}

void read_tokenizer(const GgufFile& gguf, ModelConfig& c, std::vector<std::string>& faults) {
  GgufKeys keys(gguf, "tokenizer.ggml.", faults);
  keys.read_optional({"bos_token_id"}, c.bos_token_id);
  keys.read_optional({"eos_token_id"}, c.eos_token_id);
  if (keys.has({"padding_token_id"})) {
    c.pad_token_id.emplace(0);
    keys.read({"padding_token_id"}, *c.pad_token_id);
  }
  const GgufValue* tokens = gguf.value("tokenizer.ggml.tokens");
  if (tokens == nullptr) return;
  if (!tokens->is_array() || tokens->element_type() != GgufValue::Type::String) {
    keys.fault({"tokens"}, "an array of strings");
    return;
  }
  const auto vocab = static_cast<uint64_t>(c.vocab_size);
  if (tokens->size() != vocab) {
    keys.fault({"tokens"}, fmt::format("{} strings, the size of the vocabulary", vocab));
  }
  if (keys.has({"token_type"}) && keys.count({"token_type"}) != tokens->size()) {
    keys.fault({"token_type"}, fmt::format("as many entries as tokens, {}", tokens->size()));
  }
}

}  // namespace

ModelConfig read_gguf_config(const GgufFile& gguf) {
  const std::string path = path_of(gguf);
  std::vector<std::string> faults;
  ModelConfig c;
  c.family = family_of(gguf, path);
  const bool v41 = c.family == ModelFamily::V41;
  c.name = std::filesystem::path(path).stem().string();
  c.fp8_block = v41 ? 32 : 128;
  if (const GgufValue* name = gguf.value("general.name")) {
    c.name = printable(name->as_string().value_or(c.name));
  }
  GgufKeys keys(gguf, v41 ? "deepseek41." : "deepseek4.", faults);
  read_vocab_size(keys, gguf, c);
  keys.read({"embedding_length"}, c.hidden_size);
  keys.read({"context_length"}, c.max_position_embeddings);
  keys.ignore({"embedding_length_out", "feed_forward_length"});
  read_layers(keys, gguf, c);
  read_attention(keys, c);
  read_rope(keys, c);
  read_experts(keys, c);
  keys.read({"hyper_connection.count"}, c.hc_mult);
  keys.read({"hyper_connection.sinkhorn_iterations"}, c.hc_sinkhorn_iters);
  keys.read_optional({"hyper_connection.epsilon"}, c.hc_eps);
  if (v41) {
    keys.read_optional({"hash_layer_count"}, c.num_hash_layers);
    read_sources(keys, gguf, c);
    read_engram(keys, c.engram);
  } else {
    keys.read({"hash_layer_count"}, c.num_hash_layers);
  }
  read_tokenizer(gguf, c, faults);
  keys.append_unknown(c.unknown_fields);
  const int64_t blocks = c.num_hidden_layers + c.num_nextn_predict_layers;
  if (blocks > 0 && static_cast<int64_t>(c.compress_ratios.size()) > blocks) {
    c.compress_ratios.resize(static_cast<size_t>(blocks));  // what follows is another file's
  }
  internal::fit_compress_ratios(c, faults);
  internal::throw_config_faults(c, std::move(faults), path);
  return c;
}

}  // namespace lethe
