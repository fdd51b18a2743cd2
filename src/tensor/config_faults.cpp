#include "tensor/config_faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/integers.h"

namespace lethe {

namespace {

bool is_power_of_two(int64_t n) {
  return n > 0 && (n & (n - 1)) == 0;
}

bool is_ascending(const std::vector<int64_t>& ids) {
  return std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) == ids.end();
}

/// The largest member of an ascending list that is <= layer, or -1.
int64_t latest(const std::vector<int64_t>& ids, int64_t layer) {
  const auto it = std::upper_bound(ids.begin(), ids.end(), layer);
  return it == ids.begin() ? -1 : *(it - 1);
}

/// Checks one rule after another; a rule over several fields is checked only if those are in range.
class Rules {
 public:
  explicit Rules(const ModelConfig& config) : c_(config) {}

  std::vector<std::string> check() {
    check_sizes();
    check_numbers();
    if (sizes_are_good_) {
      check_relations();
      check_ratios();
      if (v41() && ratios_are_good_) check_v41();
    }
    return std::move(faults_);
  }

 private:
  bool v41() const { return c_.family == ModelFamily::V41; }
  int64_t blocks() const { return c_.num_hidden_layers + c_.num_nextn_predict_layers; }

  template <typename Found>
  void fault(std::string_view field, const Found& found, std::string_view expected) {
    faults_.push_back(fmt::format("{}: found {}, expected {}", field, found, expected));
  }

  bool range(std::string_view field, int64_t value, int64_t lowest, int64_t highest) {
    if (value >= lowest && value <= highest) return true;
    fault(field, value, fmt::format("{} to {}", lowest, highest));
    return false;
  }
  void size(std::string_view field, int64_t value, int64_t lowest, int64_t highest) {
    sizes_are_good_ = range(field, value, lowest, highest) && sizes_are_good_;
  }
  void number(std::string_view field, double value, double lowest, double highest) {
    if (value >= lowest && value <= highest) return;
    fault(field, value, fmt::format("{} to {}", lowest, highest));
  }
  void token(std::string_view field, int64_t id) { range(field, id, 0, c_.vocab_size - 1); }

  void check_sizes() {
    constexpr int64_t kWide = 1 << 17;
    size("vocab_size", c_.vocab_size, 1, 1 << 24);
    size("hidden_size", c_.hidden_size, 1, kWide);
    size("num_hidden_layers", c_.num_hidden_layers, 1, internal::kMaxLayers);
    size("num_nextn_predict_layers", c_.num_nextn_predict_layers, 0, 16);
    size("num_attention_heads", c_.num_attention_heads, 1, 4096);
    size("head_dim", c_.head_dim, 2, 1 << 16);
    size("qk_rope_head_dim", c_.qk_rope_head_dim, 2, 1 << 16);
    size("q_lora_rank", c_.q_lora_rank, 1, kWide);
    size("o_groups", c_.o_groups, 1, 4096);
    size("o_lora_rank", c_.o_lora_rank, 1, kWide);
    size("sliding_window", c_.sliding_window, 1, 1 << 24);
    size("max_position_embeddings", c_.max_position_embeddings, 1, int64_t{1} << 40);
    size("n_routed_experts", c_.n_routed_experts, 1, 4096);
    size("n_shared_experts", c_.n_shared_experts, 1, 1);
    size("num_experts_per_tok", c_.num_experts_per_tok, 1, 4096);
    size("moe_intermediate_size", c_.moe_intermediate_size, 1, kWide);
    size("hc_mult", c_.hc_mult, 1, 64);
    size("hc_sinkhorn_iters", c_.hc_sinkhorn_iters, 1, 10000);
    size("weight_block_size", c_.fp8_block, 1, 1 << 20);
    size("index_n_heads", c_.index_n_heads, 0, 4096);
    size("index_head_dim", c_.index_head_dim, 0, 1 << 16);
    size("index_topk", c_.index_topk, 0, 1 << 24);
    size("num_hash_layers", c_.num_hash_layers, 0, internal::kMaxLayers);
  }

  void check_numbers() {
    number("rms_norm_eps", c_.rms_norm_eps, 0, 1);
    number("hc_eps", c_.hc_eps, 0, 1);
    number("rope_theta", c_.rope_theta, 1, 1e12);
    number("compress_rope_theta", c_.compress_rope_theta, 1, 1e12);
    number("rope_scaling.factor", c_.yarn.factor, 1, 1e6);
    number("rope_scaling.beta_fast", c_.yarn.beta_fast, 1e-6, 1e6);
    number("rope_scaling.beta_slow", c_.yarn.beta_slow, 1e-6, 1e6);
    range("rope_scaling.original_max_position_embeddings", c_.yarn.original_max_position_embeddings,
          0, int64_t{1} << 40);
    number("routed_scaling_factor", c_.routed_scaling_factor, 1e-6, 1e6);
    number("gate_temp", c_.gate_temp, 1e-6, 1e6);
    for (const auto* limits : {&c_.swiglu_limit, &c_.swiglu_limit_shared}) {
      const bool finite = std::all_of(limits->begin(), limits->end(),
                                      [](double limit) { return std::isfinite(limit); });
      if (!finite) fault("swiglu_limit", "an infinity or NaN", "finite numbers");
    }
    if (c_.scoring_func != "sqrtsoftplus") {
      fault("scoring_func", printable(c_.scoring_func, 60), "sqrtsoftplus");
    }
    if (!c_.expert_dtype.empty() && c_.expert_dtype != "fp4" && c_.expert_dtype != "fp8") {
      fault("expert_dtype", printable(c_.expert_dtype, 60), "fp4 or fp8");
    }
  }

  void check_relations() {
    range("qk_rope_head_dim", c_.qk_rope_head_dim, 2, c_.head_dim);
    if (c_.qk_rope_head_dim % 2 != 0) {
      fault("qk_rope_head_dim", c_.qk_rope_head_dim, "an even number");
    }
    if (c_.num_attention_heads % c_.o_groups != 0) {
      fault("o_groups", c_.o_groups,
            fmt::format("a divisor of the {} attention heads", c_.num_attention_heads));
    }
    range("num_experts_per_tok", c_.num_experts_per_tok, 1, c_.n_routed_experts);
    range("num_hash_layers", c_.num_hash_layers, 0, v41() ? 0 : c_.num_hidden_layers);
    if (c_.yarn.beta_fast < c_.yarn.beta_slow) {
      fault("rope_scaling.beta_fast", c_.yarn.beta_fast,
            fmt::format("at least beta_slow, {}", c_.yarn.beta_slow));
    }
    for (const auto* limits : {&c_.swiglu_limit, &c_.swiglu_limit_shared}) {
      if (static_cast<int64_t>(limits->size()) == c_.num_hidden_layers) continue;
      fault("swiglu_limit", fmt::format("{} entries", limits->size()),
            fmt::format("one for each of {} layers", c_.num_hidden_layers));
    }
    token("bos_token_id", c_.bos_token_id);
    token("eos_token_id", c_.eos_token_id);
    if (c_.pad_token_id) token("pad_token_id", *c_.pad_token_id);
    if (c_.image_token_id) token("image_token_id", *c_.image_token_id);
  }

  void check_ratios() {
    const auto count = static_cast<int64_t>(c_.compress_ratios.size());
    ratios_are_good_ = count == blocks();
    if (!ratios_are_good_) {
      fault("compress_ratios", fmt::format("{} entries", count),
            fmt::format("{}, one for each layer and draft block", blocks()));
      return;
    }
    const std::vector<int64_t> allowed =
        v41() ? std::vector<int64_t>{0, 1, 2} : std::vector<int64_t>{0, 4, 128};
    bool indexed = false;
    for (int64_t layer = 0; layer < count; ++layer) {
      const int64_t ratio = c_.compress_ratio(layer);
      const bool draft = layer >= c_.num_hidden_layers;
      indexed = indexed || (v41() ? ratio != 0 : ratio == 4);
      if (contains(allowed, ratio) && !(draft && v41() && ratio != 0)) continue;
      ratios_are_good_ = false;
      fault(fmt::format("compress_ratios[{}]", layer), ratio,
            draft && v41() ? "0 for a draft block" : fmt::format("{}", fmt::join(allowed, ", ")));
    }
    if (indexed) check_indexer();
  }

  void check_indexer() {
    range("index_n_heads", c_.index_n_heads, 1, 4096);
    range("index_topk", c_.index_topk, 1, 1 << 24);
    if (range("index_head_dim", c_.index_head_dim, c_.qk_rope_head_dim, 1 << 16) &&
        !is_power_of_two(c_.index_head_dim)) {
      fault("index_head_dim", c_.index_head_dim, "a power of two");
    }
  }

  void check_v41() {
    const bool kv = check_layer_ids("kv_source_layer_ids", c_.kv_source_layer_ids);
    const bool index = check_layer_ids("index_source_layer_ids", c_.index_source_layer_ids);
    if (kv && index) check_sources();
    if (c_.candidate_source_layer_id) check_candidates(*c_.candidate_source_layer_id);
    if (!c_.engram.layer_ids.empty()) check_engram();
    if (c_.num_nextn_predict_layers > 0) check_dspark();
  }

  bool check_layer_ids(std::string_view field, const std::vector<int64_t>& ids) {
    const bool good = is_ascending(ids) &&
                      (ids.empty() || (ids.front() >= 0 && ids.back() < c_.num_hidden_layers));
    if (good) return true;
    fault(field, printable(fmt::format("[{}]", fmt::join(ids, ", "))),
          fmt::format("ascending layer numbers from 0 to {}", c_.num_hidden_layers - 1));
    return false;
  }

  /// Every layer with compressed entries reads those of the latest KV source, whose ratio must be
  /// its own, and the selection of the latest index source not before that.
  void check_sources() {
    for (int64_t layer = 0; layer < c_.num_hidden_layers; ++layer) {
      const int64_t ratio = c_.compress_ratio(layer);
      if (ratio == 0) {
        for (const auto* ids : {&c_.kv_source_layer_ids, &c_.index_source_layer_ids}) {
          if (contains(*ids, layer)) {
            fault(fmt::format("compress_ratios[{}]", layer), 0, "1 or 2 for a source layer");
          }
        }
        continue;
      }
      const int64_t source = latest(c_.kv_source_layer_ids, layer);
      if (source < 0 || c_.compress_ratio(source) != ratio) {
        fault("kv_source_layer_ids", fmt::format("no source for layer {}", layer),
              fmt::format("one at or before it with its ratio, {}", ratio));
      } else if (latest(c_.index_source_layer_ids, layer) < source) {
        fault("index_source_layer_ids", fmt::format("no source for layer {}", layer),
              fmt::format("one from layer {} on", source));
      }
    }
  }

  void check_candidates(int64_t source) {
    if (!contains(c_.kv_source_layer_ids, source) || !contains(c_.index_source_layer_ids, source)) {
      fault("candidate_source_layer_id", source, "a layer that is a KV and an index source");
    }
    range("candidate_topk_blocks", c_.candidate_topk_blocks, 1, 1 << 24);
    range("candidate_block_size", c_.candidate_block_size, 1, 1 << 24);
  }

  void check_engram() {
    const EngramConfig& e = c_.engram;
    check_layer_ids("engram_layer_ids", e.layer_ids);
    if (e.num_embeddings.size() != e.layer_ids.size()) {
      fault("engram_num_embeddings", fmt::format("{} entries", e.num_embeddings.size()),
            fmt::format("one for each of {} Engram layers", e.layer_ids.size()));
    }
    for (const int64_t rows : e.num_embeddings) {
      range("engram_num_embeddings", rows, 1, int64_t{1} << 40);
    }
    range("engram_max_ngram_size", e.max_ngram_size, 2, 16);
    range("engram_vocab_size", e.vocab_size, 1, int64_t{1} << 40);
    range("engram_n_heads", e.n_heads, 1, 256);
    if (range("engram_head_dim", e.head_dim, 1, 1 << 16) && e.head_dim % 32 != 0) {
      fault("engram_head_dim", e.head_dim, "a multiple of 32");
    }
    token("engram_pad_token_id", e.pad_token_id);
    range("engram_compressed_vocab_size", e.compressed_vocab_size, 1, c_.vocab_size);
  }

  void check_dspark() {
    const DSparkConfig& d = c_.dspark;
    range("dspark_block_size", d.block_size, 1, 4096);
    token("dspark_noise_token_id", d.noise_token_id);
    check_layer_ids("dspark_target_layer_ids", d.target_layer_ids);
    if (d.target_layer_ids.empty()) fault("dspark_target_layer_ids", "[]", "at least one layer");
    range("dspark_markov_rank", d.markov_rank, 1, 1 << 17);
    if (range("dspark_n_routed_experts", d.n_routed_experts, 1, 4096)) {
      range("dspark_num_experts_per_tok", d.num_experts_per_tok, 1, d.n_routed_experts);
    }
  }

  const ModelConfig& c_;
  bool sizes_are_good_ = true;
  bool ratios_are_good_ = true;
  std::vector<std::string> faults_;
};

/// "text_config.compress_ratios[3]: ..." -> "compress_ratios"; a field of rope_scaling keeps that.
std::string_view field_of(std::string_view fault) {
  fault = fault.substr(0, fault.find(": "));
  fault = fault.substr(0, fault.find('['));
  for (const std::string_view prefix : {"text_config.", "quantization_config."}) {
    if (fault.starts_with(prefix)) fault.remove_prefix(prefix.size());
  }
  return fault;
}

}  // namespace

std::vector<std::string> config_faults(const ModelConfig& config) {
  return Rules(config).check();
}

namespace internal {

void fit_compress_ratios(ModelConfig& config, std::vector<std::string>& faults) {
  const int64_t layers = config.num_hidden_layers;
  const int64_t drafts = config.num_nextn_predict_layers;
  std::vector<int64_t>& ratios = config.compress_ratios;
  if (layers < 1 || layers > kMaxLayers || drafts < 0 || drafts > kMaxLayers) return;
  if (static_cast<int64_t>(ratios.size()) < layers) return;
  const auto wanted = static_cast<size_t>(layers + drafts);
  for (size_t i = wanted; i < ratios.size(); ++i) {
    if (ratios[i] == 0) continue;
    faults.push_back(
        fmt::format("compress_ratios[{}]: found {}, expected 0 beyond the {} layers "
                    "and {} draft blocks",
                    i, ratios[i], layers, drafts));
    break;
  }
  ratios.resize(wanted, 0);
}

void throw_config_faults(const ModelConfig& config, std::vector<std::string> faults,
                         const std::string& path) {
  std::set<std::string, std::less<>> named;
  for (const std::string& fault : faults) named.emplace(field_of(fault));
  for (std::string& fault : config_faults(config)) {
    if (named.find(field_of(fault)) == named.end()) faults.push_back(std::move(fault));
  }
  if (faults.empty()) return;
  throw LoadError("{}: the model's configuration cannot be used:\n  {}", path,
                  fmt::join(faults, "\n  "));
}

}  // namespace internal

}  // namespace lethe
