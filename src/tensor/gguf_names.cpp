#include "tensor/gguf_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/check.h"

namespace lethe::internal {

namespace {

/// One row of the name table. `gguf` holds alternatives; all but those that end with ".bias" are
/// followed by ".weight" in the file (some dialects leave it away in Engram names).
struct NameRow {
  std::string_view official;
  std::array<std::string_view, 2> gguf;
};

constexpr std::array<NameRow, 6> kRoot = {{{"embed.weight", {"token_embd"}},
                                           {"norm.weight", {"output_norm"}},
                                           {"head.weight", {"output"}},
                                           {"hc_head_fn", {"output_hc_fn"}},
                                           {"hc_head_base", {"output_hc_base"}},
                                           {"hc_head_scale", {"output_hc_scale"}}}};

constexpr std::array<NameRow, 42> kBlock = {{
    {"attn_norm.weight", {"attn_norm"}},
    {"ffn_norm.weight", {"ffn_norm"}},
    {"attn.attn_sink", {"attn_sinks"}},
    {"attn.wq_a.weight", {"attn_q_a"}},
    {"attn.q_norm.weight", {"attn_q_a_norm"}},
    {"attn.wq_b.weight", {"attn_q_b"}},
    {"attn.wkv.weight", {"attn_kv"}},
    {"attn.kv_norm.weight", {"attn_kv_a_norm"}},
    {"attn.wo_a.weight", {"attn_output_a"}},
    {"attn.wo_b.weight", {"attn_output_b"}},
    {"attn.compressor.wkv.weight", {"attn_compressor_kv"}},
    {"attn.compressor.wgate.weight", {"attn_compressor_gate"}},
    {"attn.compressor.ape", {"attn_compressor_ape"}},
    {"attn.compressor.norm.weight", {"attn_compressor_norm"}},
    {"attn.indexer.wq_b.weight", {"indexer.attn_q_b"}},
    {"attn.indexer.weights_proj.weight", {"indexer.proj"}},
    {"attn.indexer.compressor.wkv.weight", {"indexer_compressor_kv"}},
    {"attn.indexer.compressor.wgate.weight", {"indexer_compressor_gate"}},
    {"attn.indexer.compressor.ape", {"indexer_compressor_ape"}},
    {"attn.indexer.compressor.norm.weight", {"indexer_compressor_norm"}},
    {"attn.indexer.wk.weight", {"indexer.attn_k", "indexer_compressor_kv"}},
    {"attn.indexer.k_norm.weight", {"indexer.k_norm", "indexer_compressor_norm"}},
    {"hc_attn_fn", {"hc_attn_fn"}},
    {"hc_attn_base", {"hc_attn_base"}},
    {"hc_attn_scale", {"hc_attn_scale"}},
    {"hc_ffn_fn", {"hc_ffn_fn"}},
    {"hc_ffn_base", {"hc_ffn_base"}},
    {"hc_ffn_scale", {"hc_ffn_scale"}},
    {"ffn.gate.weight", {"ffn_gate_inp"}},
    {"ffn.gate.bias", {"exp_probs_b.bias"}},
    {"ffn.gate.tid2eid", {"ffn_gate_tid2eid"}},
    {"ffn.experts.*.w1.weight", {"ffn_gate_exps"}},
    {"ffn.experts.*.w2.weight", {"ffn_down_exps"}},
    {"ffn.experts.*.w3.weight", {"ffn_up_exps"}},
    {"ffn.shared_experts.w1.weight", {"ffn_gate_shexp"}},
    {"ffn.shared_experts.w2.weight", {"ffn_down_shexp"}},
    {"ffn.shared_experts.w3.weight", {"ffn_up_shexp"}},
    {"engram.embed.weight", {"engram_embd", "engram_table"}},
    {"engram.wkv.weight", {"engram_wkv", "engram_kv"}},
    {"engram.q_weight", {"engram_q"}},
    {"engram.k_weight", {"engram_k"}},
    {"norm.weight", {"nextn.shared_head_norm", "norm"}},
}};

/// Of an MTP block, beside those of any block.
constexpr std::array<NameRow, 7> kMtp = {
    {{"enorm.weight", {"nextn.enorm", "enorm"}},
     {"hnorm.weight", {"nextn.hnorm", "hnorm"}},
     {"e_proj.weight", {"nextn.e_proj", "e_proj"}},
     {"h_proj.weight", {"nextn.h_proj", "h_proj"}},
     {"hc_head_fn", {"nextn.hc_head_fn", "hc_head_fn"}},
     {"hc_head_base", {"nextn.hc_head_base", "hc_head_base"}},
     {"hc_head_scale", {"nextn.hc_head_scale", "hc_head_scale"}}}};

template <size_t N>
const NameRow* find_row(const std::array<NameRow, N>& table, std::string_view official) {
  const auto row = std::find_if(table.begin(), table.end(), [official](const NameRow& candidate) {
    return candidate.official == official;
  });
  return row == table.end() ? nullptr : &*row;
}

/// "layers.3.ffn.experts.7.w1.weight" -> "ffn.experts.*.w1.weight".
std::string name_in_block(const TensorSpec& spec) {
  std::string_view name = spec.name;
  if (spec.layer < 0) return spec.name;
  name.remove_prefix(name.find('.') + 1);
  name.remove_prefix(name.find('.') + 1);
  if (spec.expert < 0) return std::string(name);
  const std::string number = fmt::format("{}", spec.expert);
  constexpr std::string_view stem = "ffn.experts.";
  LETHE_CHECK(name.starts_with(stem), "{}", spec.name);
  return fmt::format("{}*{}", stem, name.substr(stem.size() + number.size()));
}

void add(std::vector<GgufPlace>& places, std::string name, bool engram) {
  if (name.ends_with(".bias")) {
    places.push_back({std::move(name)});
    return;
  }
  places.push_back({name + ".weight"});
  if (engram) places.push_back({std::move(name)});
}

void add_row(std::vector<GgufPlace>& places, const NameRow& row, std::string_view prefix) {
  const bool engram = row.official.starts_with("engram.");
  for (const std::string_view name : row.gguf) {
    if (!name.empty()) add(places, fmt::format("{}{}", prefix, name), engram);
  }
}

/// A draft block is a layer after the last one, or "mtp.S"; its own head's tensors are at the root
/// of a draft file.
void add_draft_places(std::vector<GgufPlace>& places, const TensorSpec& spec,
                      const std::string& name, const ModelConfig& config, bool draft_file) {
  const std::string as_layer = fmt::format("blk.{}.", config.num_hidden_layers + spec.layer);
  const std::string as_draft = fmt::format("mtp.{}.", spec.layer);
  for (const std::string& prefix : {as_layer, as_draft}) {
    if (const NameRow* row = find_row(kBlock, name)) add_row(places, *row, prefix);
    if (const NameRow* row = find_row(kMtp, name)) add_row(places, *row, prefix);
  }
  if (name == "e_proj.weight") places.push_back({as_layer + "nextn.eh_proj.weight", 0});
  if (name == "h_proj.weight") places.push_back({as_layer + "nextn.eh_proj.weight", 1});
  if (draft_file && name.starts_with("hc_head_")) add_row(places, *find_row(kRoot, name), "");
}

}  // namespace

std::vector<GgufPlace> gguf_places(const TensorSpec& spec, const ModelConfig& config,
                                   bool draft_file) {
  std::vector<GgufPlace> places;
  const std::string name = name_in_block(spec);
  if (spec.draft) {
    add_draft_places(places, spec, name, config, draft_file);
  } else if (spec.layer >= 0) {
    const NameRow* row = find_row(kBlock, name);
    LETHE_CHECK(row != nullptr, "{} has no GGUF name", spec.name);
    add_row(places, *row, fmt::format("blk.{}.", spec.layer));
  } else {
    const NameRow* row = find_row(kRoot, name);
    LETHE_CHECK(row != nullptr, "{} has no GGUF name", spec.name);
    add_row(places, *row, "");
  }
  return places;
}

std::string gguf_engram_scale(const TensorSpec& spec) {
  return fmt::format("blk.{}.engram_embd.scale", spec.layer);
}

bool is_ignorable_gguf_tensor(std::string_view name) {
  constexpr std::array<std::string_view, 3> root = {"token_embd.weight", "output.weight",
                                                    "output_norm.weight"};
  return std::find(root.begin(), root.end(), name) != root.end() ||
         name.starts_with("rope_freqs") || name.ends_with("exp_probs_b_vl.bias");
}

}  // namespace lethe::internal
