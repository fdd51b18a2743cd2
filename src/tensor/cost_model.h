#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "tensor/inventory.h"
#include "tensor/model_config.h"

// What one decoded token costs, computed from a configuration: arithmetic, cache, bytes read.
// Counting rules: spec/deepseek-v4.md sections 7 and 8, spec/deepseek-v4.1.md section 5.
// "Context" T is the number of tokens so far, the decoded one included. Pure; any thread.

namespace lethe {

/// DeepSeek-V3.2-Exp (MLA with a lightning indexer), only to compare with: its published sizes.
struct DeepseekV32 {
  int64_t vocab_size = 129280;
  int64_t hidden_size = 7168;
  int64_t num_hidden_layers = 61;
  int64_t first_k_dense_replace = 3;
  int64_t intermediate_size = 18432;  ///< of the dense first layers
  int64_t num_attention_heads = 128;
  int64_t q_lora_rank = 1536;
  int64_t kv_lora_rank = 512;
  int64_t qk_nope_head_dim = 128;
  int64_t qk_rope_head_dim = 64;
  int64_t v_head_dim = 128;
  int64_t index_n_heads = 64;
  int64_t index_head_dim = 128;
  int64_t index_topk = 2048;
  int64_t n_routed_experts = 256;
  int64_t num_experts_per_tok = 8;
  int64_t moe_intermediate_size = 2048;
};

/// The parts of a decoded token's arithmetic, as section 8 tabulates them.
enum class MacPart {
  Projections,    ///< fp8: q, kv, wo_b, indexer wq_b, engram wkv
  GroupedOutput,  ///< bf16: wo_a; V3.2: the absorbed kv_b
  Compressors,    ///< bf16: compressors, indexer wk and weights_proj
  GateAndHc,      ///< f32/bf16: router, hyper-connections
  Experts,        ///< fp4/fp8: routed active + shared (V3.2: the dense first layers too)
  Head,           ///< bf16
  IndexScores,    ///< fp4 x fp4 (V3.2: fp8)
  AttentionCore,  ///< bf16
};
inline constexpr int kNumMacParts = static_cast<int>(MacPart::AttentionCore) + 1;
std::string_view mac_part_name(MacPart part);

/// Multiply-accumulates of one decoded token, by part. One MAC is two FLOPs.
struct TokenMacs {
  std::array<int64_t, kNumMacParts> by_part{};
  bool index_is_fp4 = true;
  int64_t& operator[](MacPart part) { return by_part[static_cast<size_t>(part)]; }
  int64_t operator[](MacPart part) const { return by_part[static_cast<size_t>(part)]; }
  /// All parts that multiply a weight: everything but IndexScores and AttentionCore.
  int64_t active_weights() const;
  int64_t total() const;
};
TokenMacs token_macs(const ModelConfig& config, int64_t context);
TokenMacs token_macs(const DeepseekV32& config, int64_t context);

/// How MACs of different precisions are added up.
enum class CountingRule {
  EveryMac,                ///< every MAC the same
  Fp8Equivalent,           ///< fp8 = 1, bf16 attention core = 2, fp4 index scores = 0.5
  Fp8EquivalentBf16Parts,  ///< the same, and the bf16/f32 weight parts = 2
  Fp4AsFp8,                ///< bf16 = 2 everywhere, fp4 index scores = 1
};
double flops(const TokenMacs& macs, CountingRule rule);

/// Precision of the cache.
enum class CacheFormat {
  Served,        ///< fp8 entries (V4.1: fp4), fp4 index keys; V3.2: fp8 latents and index keys
  Fp8IndexKeys,  ///< Served, but index keys in fp8 with one f32 scale
  Bf16,          ///< bf16 throughout
};

/// Cache of one sequence in bytes.
struct CacheCost {
  double entries_per_token = 0;  ///< compressed entries (V3.2: latents)
  double index_keys_per_token = 0;
  int64_t window = 0;   ///< sliding-window rings of all layers and draft blocks
  int64_t pending = 0;  ///< unfinished groups of the compressors, f32, worst case
  double per_token() const { return entries_per_token + index_keys_per_token; }
  /// Everything that is served from: entries and rings at a context; `pending` is not in it.
  double total(int64_t context) const {
    return per_token() * static_cast<double>(context) + static_cast<double>(window);
  }
};
CacheCost cache_cost(const ModelConfig& config, CacheFormat format);
CacheCost cache_cost(const DeepseekV32& config, CacheFormat format);

/// A bf16 K/V cache of grouped-query attention with 8 heads of 128 in as many layers, bytes per
/// token: the conventional design that "about 2 %" compares with.
double gqa_cache_per_token(int64_t num_layers);

/// Cache bytes that the decoding of one token reads, in the served format.
int64_t cache_bytes_read(const ModelConfig& config, int64_t context);
int64_t cache_bytes_read(const DeepseekV32& config, int64_t context);

/// Weights of one part of a model.
struct WeightCost {
  int64_t parameters = 0;
  int64_t bytes = 0;
  int64_t active_parameters = 0;  ///< multiplied for one token (looked-up rows included)
  int64_t active_bytes = 0;       ///< read for one token
};
using WeightCosts = std::array<WeightCost, kNumModelParts>;
/// Bytes of a spec's tensors where they are stored; nothing if it is absent.
using StoredBytes = std::function<std::optional<int64_t>(const TensorSpec&)>;
/// Draft blocks are never active here: drafting reads them apart.
WeightCosts weight_costs(const ModelConfig& config, const StoredBytes& stored_bytes);
/// As the release stores them.
WeightCosts weight_costs(const ModelConfig& config);
WeightCost sum(const WeightCosts& costs);

}  // namespace lethe
