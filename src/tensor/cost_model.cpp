#include "tensor/cost_model.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "tensor/integers.h"

namespace lethe {

namespace {

constexpr int64_t kBf16Bytes = 2;
constexpr int64_t kF32Bytes = 4;

bool is_v41(const ModelConfig& c) {
  return c.family == ModelFamily::V41;
}

/// What a layer keeps and scores, the difference between V4 and V4.1 resolved.
struct LayerRole {
  int64_t ratio = 0;
  bool kv_source = false;     ///< appends a compressed entry per `ratio` tokens
  bool index_keys = false;    ///< appends an index key with each entry
  bool index_source = false;  ///< scores index keys
  bool selects = false;       ///< attends to the index_topk best entries, not to all
  bool restricted = false;    ///< scores only the candidate blocks
};

LayerRole layer_role(const ModelConfig& c, int64_t layer) {
  LayerRole role;
  role.ratio = c.compress_ratio(layer);
  if (is_v41(c)) {
    role.kv_source = contains(c.kv_source_layer_ids, layer);
    role.index_keys = role.kv_source;
    role.index_source = contains(c.index_source_layer_ids, layer);
    role.selects = role.ratio != 0;
    role.restricted = c.candidate_source_layer_id && layer > *c.candidate_source_layer_id;
  } else {
    role.kv_source = role.ratio != 0;
    role.selects = role.index_source = role.index_keys = role.ratio == 4;
  }
  return role;
}

/// Entries that exist after `context` tokens.
int64_t visible_entries(const LayerRole& role, int64_t context) {
  return role.ratio == 0 ? 0 : context / role.ratio;
}

int64_t attended_entries(const ModelConfig& c, const LayerRole& role, int64_t context) {
  const int64_t visible = visible_entries(role, context);
  return role.selects ? std::min(visible, c.index_topk) : visible;
}

int64_t scored_entries(const ModelConfig& c, const LayerRole& role, int64_t context) {
  if (!role.index_source) return 0;
  const int64_t visible = visible_entries(role, context);
  return role.restricted ? std::min(visible, c.candidate_topk_blocks * c.candidate_block_size)
                         : visible;
}

/// MACs of a KV source's compressor and of its index-key side.
int64_t compressor_macs(const ModelConfig& c, const LayerRole& role) {
  if (!role.kv_source) return 0;
  const int64_t D = c.hidden_size;
  if (is_v41(c)) {
    const int64_t projections = role.ratio > 1 ? 2 : 1;
    return projections * c.head_dim * D + c.index_head_dim * c.head_dim;
  }
  const int64_t overlap = role.ratio == 4 ? 2 : 1;
  const int64_t widths = overlap * (c.head_dim + (role.index_keys ? c.index_head_dim : 0));
  return 2 * widths * D;
}

void add_layer_macs(const ModelConfig& c, int64_t layer, int64_t context, TokenMacs& macs) {
  const LayerRole role = layer_role(c, layer);
  const int64_t D = c.hidden_size;
  const int64_t d = c.head_dim;
  const int64_t H = c.num_attention_heads;
  const int64_t output_rank = c.o_groups * c.o_lora_rank;
  const int64_t index_width = c.index_n_heads * c.index_head_dim;
  macs[MacPart::Projections] += c.q_lora_rank * D + H * d * c.q_lora_rank + d * D + D * output_rank;
  macs[MacPart::GroupedOutput] += output_rank * (H * d / c.o_groups);
  macs[MacPart::Compressors] += compressor_macs(c, role);
  if (role.index_source) {
    macs[MacPart::Projections] += index_width * c.q_lora_rank;
    macs[MacPart::Compressors] += c.index_n_heads * D;
  }
  if (is_v41(c) && contains(c.engram.layer_ids, layer)) {
    macs[MacPart::Projections] += D * (c.hc_mult + 1) * c.engram.columns() * c.engram.head_dim;
  }
  const int64_t mix_rows = 2 * (2 + c.hc_mult) * c.hc_mult;
  macs[MacPart::GateAndHc] += c.n_routed_experts * D + mix_rows * c.hc_mult * D;
  macs[MacPart::Experts] +=
      (c.num_experts_per_tok + c.n_shared_experts) * 3 * D * c.moe_intermediate_size;
  macs[MacPart::IndexScores] += index_width * scored_entries(c, role, context);
  const int64_t keys = std::min(context, c.sliding_window) + attended_entries(c, role, context);
  macs[MacPart::AttentionCore] += H * 2 * d * keys;
}

/// Bytes of one cache row of each kind.
struct RowBytes {
  int64_t entry = 0;
  int64_t index_key = 0;
  int64_t window = 0;
};

RowBytes row_bytes_of(const ModelConfig& c, CacheFormat format) {
  const int64_t d = c.head_dim;
  const int64_t dI = c.index_head_dim;
  RowBytes bytes;
  if (format == CacheFormat::Bf16) {
    bytes.entry = bytes.window = kBf16Bytes * d;
    bytes.index_key = kBf16Bytes * dI;
    return bytes;
  }
  bytes.index_key =
      format == CacheFormat::Fp8IndexKeys ? dI + kF32Bytes : dI / 2 + ceil_div(dI, 32);
  if (is_v41(c)) {
    bytes.entry = d / 2 + ceil_div(d, 16);
    bytes.window = d + ceil_div(d, 32);
  } else {
    // e4m3 of the plain dims and one e8m0 per 64 of them, padded to 8 bytes; bf16 rope dims.
    const int64_t plain = d - c.qk_rope_head_dim;
    bytes.entry = ceil_div(plain + ceil_div(plain, 64), 8) * 8 + kBf16Bytes * c.qk_rope_head_dim;
    bytes.window = bytes.entry;
  }
  return bytes;
}

/// f32 rows (a, b) that a compressor of `width` keeps at worst: the unfinished group, and for the
/// overlapping one the last complete group's first halves.
int64_t pending_bytes(int64_t ratio, int64_t width, bool overlap) {
  const int64_t unfinished = (ratio - 1) * (overlap ? 2 : 1) * width;
  const int64_t previous = overlap ? ratio * width : 0;
  return 2 * (unfinished + previous) * kF32Bytes;
}

int64_t layer_pending_bytes(const ModelConfig& c, const LayerRole& role) {
  if (!role.kv_source) return 0;
  if (is_v41(c)) return pending_bytes(role.ratio, c.head_dim, false);
  const bool overlap = role.ratio == 4;
  return pending_bytes(role.ratio, c.head_dim, overlap) +
         (role.index_keys ? pending_bytes(role.ratio, c.index_head_dim, overlap) : 0);
}

/// Share of a tensor that one token touches.
double active_share(const ModelConfig& c, const TensorSpec& spec) {
  const auto ratio = [](int64_t used, int64_t of) {
    return static_cast<double>(used) / static_cast<double>(of);
  };
  if (spec.draft) return 0;
  if (spec.expert >= 0) return ratio(c.num_experts_per_tok, c.n_routed_experts);
  if (spec.part == ModelPart::Embedding || spec.kind == StorageKind::I64) {
    return ratio(1, spec.shape[0]);
  }
  if (spec.kind == StorageKind::Fp8Row) return ratio(c.engram.columns(), spec.shape[0]);
  return 1;
}

/// The table of token ids to experts is no parameter.
int64_t parameter_count(const TensorSpec& spec) {
  if (spec.kind == StorageKind::I64) return 0;
  return std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
}

int64_t released_bytes(const ModelConfig& c, const TensorSpec& spec) {
  int64_t bytes = 0;
  for (const TensorPlan& plan : released_tensors(spec, c.fp8_block)) {
    bytes += std::accumulate(plan.shape.begin(), plan.shape.end(),
                             int64_t{dtype_info(plan.dtype).block_bytes}, std::multiplies<>());
  }
  return bytes;
}

}  // namespace

std::string_view mac_part_name(MacPart part) {
  switch (part) {
    case MacPart::Projections:
      return "projections (q, kv, wo_b, indexer)";
    case MacPart::GroupedOutput:
      return "wo_a (V3.2: MLA absorb)";
    case MacPart::Compressors:
      return "compressors, index weights";
    case MacPart::GateAndHc:
      return "router, hyper-connections";
    case MacPart::Experts:
      return "experts";
    case MacPart::Head:
      return "LM head";
    case MacPart::IndexScores:
      return "index scores";
    case MacPart::AttentionCore:
      return "attention core";
  }
  LETHE_CHECK(false, "MAC part {}", static_cast<int>(part));
  return {};
}

int64_t TokenMacs::total() const {
  return std::accumulate(by_part.begin(), by_part.end(), int64_t{0});
}

int64_t TokenMacs::active_weights() const {
  return total() - (*this)[MacPart::IndexScores] - (*this)[MacPart::AttentionCore];
}

TokenMacs token_macs(const ModelConfig& config, int64_t context) {
  TokenMacs macs;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    add_layer_macs(config, layer, context, macs);
  }
  if (!is_v41(config)) {
    macs[MacPart::GateAndHc] += config.hc_mult * config.hc_mult * config.hidden_size;
  }
  macs[MacPart::Head] = config.vocab_size * config.hidden_size;
  return macs;
}

TokenMacs token_macs(const DeepseekV32& c, int64_t context) {
  const int64_t L = c.num_hidden_layers;
  const int64_t D = c.hidden_size;
  const int64_t H = c.num_attention_heads;
  const int64_t index_width = c.index_n_heads * c.index_head_dim;
  const int64_t key_dim = c.kv_lora_rank + c.qk_rope_head_dim;
  const int64_t moe_layers = L - c.first_k_dense_replace;
  TokenMacs macs;
  macs.index_is_fp4 = false;
  macs[MacPart::Projections] =
      L * (c.q_lora_rank * D + H * (c.qk_nope_head_dim + c.qk_rope_head_dim) * c.q_lora_rank +
           key_dim * D + D * H * c.v_head_dim + index_width * c.q_lora_rank + c.index_head_dim * D);
  macs[MacPart::GroupedOutput] = L * H * c.kv_lora_rank * (c.qk_nope_head_dim + c.v_head_dim);
  macs[MacPart::Compressors] = L * c.index_n_heads * D;
  macs[MacPart::GateAndHc] = moe_layers * c.n_routed_experts * D;
  macs[MacPart::Experts] =
      moe_layers * (c.num_experts_per_tok + 1) * 3 * D * c.moe_intermediate_size +
      c.first_k_dense_replace * 3 * D * c.intermediate_size;
  macs[MacPart::Head] = c.vocab_size * D;
  macs[MacPart::IndexScores] = L * index_width * context;
  macs[MacPart::AttentionCore] =
      L * H * (key_dim + c.kv_lora_rank) * std::min(context, c.index_topk);
  return macs;
}

double flops(const TokenMacs& macs, CountingRule rule) {
  const double core = rule == CountingRule::EveryMac ? 1 : 2;
  const bool half_index = macs.index_is_fp4 && (rule == CountingRule::Fp8Equivalent ||
                                                rule == CountingRule::Fp8EquivalentBf16Parts);
  const bool bf16_parts_double =
      rule == CountingRule::Fp8EquivalentBf16Parts || rule == CountingRule::Fp4AsFp8;
  const auto at = [&macs](MacPart part) { return static_cast<double>(macs[part]); };
  const double bf16_parts = at(MacPart::GroupedOutput) + at(MacPart::Compressors) +
                            at(MacPart::GateAndHc) + at(MacPart::Head);
  const double fp8_parts = at(MacPart::Projections) + at(MacPart::Experts);
  return 2 *
         (fp8_parts + (bf16_parts_double ? 2 : 1) * bf16_parts +
          (half_index ? 0.5 : 1) * at(MacPart::IndexScores) + core * at(MacPart::AttentionCore));
}

CacheCost cache_cost(const ModelConfig& config, CacheFormat format) {
  const RowBytes bytes = row_bytes_of(config, format);
  CacheCost cost;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const LayerRole role = layer_role(config, layer);
    cost.pending += layer_pending_bytes(config, role);
    if (!role.kv_source) continue;
    const double entries_per_token = 1.0 / static_cast<double>(role.ratio);
    cost.entries_per_token += static_cast<double>(bytes.entry) * entries_per_token;
    if (role.index_keys) {
      cost.index_keys_per_token += static_cast<double>(bytes.index_key) * entries_per_token;
    }
  }
  cost.window = (config.num_hidden_layers + config.num_nextn_predict_layers) *
                config.sliding_window * bytes.window;
  return cost;
}

CacheCost cache_cost(const DeepseekV32& c, CacheFormat format) {
  // e4m3 latents with one f32 scale per 128, bf16 rope dims; index key e4m3 with one f32 scale.
  int64_t entry =
      c.kv_lora_rank + c.kv_lora_rank / 128 * kF32Bytes + kBf16Bytes * c.qk_rope_head_dim;
  int64_t index_key = c.index_head_dim + kF32Bytes;
  if (format == CacheFormat::Bf16) {
    entry = kBf16Bytes * (c.kv_lora_rank + c.qk_rope_head_dim);
    index_key = kBf16Bytes * c.index_head_dim;
  }
  CacheCost cost;
  cost.entries_per_token = static_cast<double>(c.num_hidden_layers * entry);
  cost.index_keys_per_token = static_cast<double>(c.num_hidden_layers * index_key);
  return cost;
}

double gqa_cache_per_token(int64_t num_layers) {
  constexpr int64_t heads = 8;
  constexpr int64_t head_dim = 128;
  return static_cast<double>(num_layers * 2 * heads * head_dim * kBf16Bytes);
}

int64_t cache_bytes_read(const ModelConfig& config, int64_t context) {
  const RowBytes bytes = row_bytes_of(config, CacheFormat::Served);
  int64_t total = 0;
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const LayerRole role = layer_role(config, layer);
    total += std::min(context, config.sliding_window) * bytes.window +
             attended_entries(config, role, context) * bytes.entry +
             scored_entries(config, role, context) * bytes.index_key;
  }
  return total;
}

int64_t cache_bytes_read(const DeepseekV32& config, int64_t context) {
  const CacheCost cost = cache_cost(config, CacheFormat::Served);
  return static_cast<int64_t>(cost.entries_per_token) * std::min(context, config.index_topk) +
         static_cast<int64_t>(cost.index_keys_per_token) * context;
}

WeightCosts weight_costs(const ModelConfig& config, const StoredBytes& stored_bytes) {
  struct Active {
    double parameters = 0;
    double bytes = 0;
  };
  std::array<Active, kNumModelParts> active{};
  WeightCosts costs{};
  for (const TensorSpec& spec : expected_tensors(config)) {
    const std::optional<int64_t> bytes = stored_bytes(spec);
    if (!bytes) continue;
    const int64_t parameters = parameter_count(spec);
    const double share = active_share(config, spec);
    const auto part = static_cast<size_t>(spec.part);
    costs[part].parameters += parameters;
    costs[part].bytes += *bytes;
    active[part].parameters += share * static_cast<double>(parameters);
    active[part].bytes += share * static_cast<double>(*bytes);
  }
  for (size_t part = 0; part < costs.size(); ++part) {
    costs[part].active_parameters = std::llround(active[part].parameters);
    costs[part].active_bytes = std::llround(active[part].bytes);
  }
  return costs;
}

WeightCosts weight_costs(const ModelConfig& config) {
  return weight_costs(config, [&config](const TensorSpec& spec) -> std::optional<int64_t> {
    return released_bytes(config, spec);
  });
}

WeightCost sum(const WeightCosts& costs) {
  WeightCost total;
  for (const WeightCost& cost : costs) {
    total.parameters += cost.parameters;
    total.bytes += cost.bytes;
    total.active_parameters += cost.active_parameters;
    total.active_bytes += cost.active_bytes;
  }
  return total;
}

}  // namespace lethe
