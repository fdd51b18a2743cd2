#include "model/synth/synth_weights.h"

#include <cmath>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace lethe::synth {

namespace {

/// Weights that are not zero-mean matrices of std 1/sqrt(in), by the end of their name. The first
/// match counts.
struct Rule {
  std::string_view suffix;
  Distribution distribution;
};
constexpr Rule kVectorRules[] = {
    {"norm.weight", {1, 0.1}},
    {"engram.q_weight", {1, 0.1}},
    {"engram.k_weight", {1, 0.1}},
    {".attn_sink", {0.5, 1}},
    {".ape", {0, 0.5}},
    {"_base", {0, 0.5}},
    {"_scale", {0.8, 0.15}},
    {".gate.bias", {0, 0.05}},
    {"embed.weight", {0, 1}},
};
/// Factors on 1/sqrt(in): sharper gates and logits, gentler hyper-connections.
struct Gain {
  std::string_view suffix;
  double gain;
};
constexpr Gain kGains[] = {
    {"_fn", 0.5}, {"head.weight", 2.5}, {".gate.weight", 1.5}, {".wgate.weight", 1.5}};

}  // namespace

Distribution weight_distribution(const TensorSpec& spec) {
  const std::string_view name = spec.name;
  for (const Rule& rule : kVectorRules) {
    if (name.ends_with(rule.suffix)) return rule.distribution;
  }
  double gain = 1;
  for (const Gain& candidate : kGains) {
    if (name.ends_with(candidate.suffix)) gain = candidate.gain;
  }
  return {0, gain / std::sqrt(static_cast<double>(spec.shape.back()))};
}

std::vector<OutputTensor> released_outputs(const ModelConfig& config, const TensorSpec& spec,
                                           uint64_t seed) {
  const std::vector<TensorPlan> plans = released_tensors(spec, config.fp8_block);
  const Distribution distribution = weight_distribution(spec);
  const std::string& name = spec.name;
  if (!has_scale(spec.kind)) {
    const TensorPlan& plan = plans.front();
    if (plan.dtype == DType::I64) {
      const auto ids = [plan, seed, experts = config.n_routed_experts] {
        return random_expert_ids(plan.dtype, plan.shape[1], experts, seed, plan.name);
      };
      return {{plan, ids}};
    }
    return {{plan, [plan, distribution, seed] {
               return random_numbers(plan.dtype, distribution, seed, plan.name);
             }}};
  }
  const auto make = spec.kind == StorageKind::Fp4Row ? random_fp4 : random_fp8;
  const double std = distribution.std;
  return {{plans[0], [=] { return make(std, seed, name).codes; }},
          {plans[1], [=] { return make(std, seed, name).scales; }}};
}

DType gguf_dtype(const TensorSpec& spec, DType expert, DType dense) {
  if (spec.kind == StorageKind::I64) return DType::I32;
  if (spec.expert >= 0) return expert;
  if (spec.kind == StorageKind::Fp8Block || spec.kind == StorageKind::Fp8Row) return dense;
  const bool norm_like = weight_distribution(spec).mean != 0;
  return spec.kind == StorageKind::Bf16 && spec.shape.size() > 1 && !norm_like ? DType::BF16
                                                                               : DType::F32;
}

OutputTensor gguf_output(const ModelConfig& config, const TensorSpec& spec, std::string name,
                         Shape shape, DType dtype, uint64_t seed) {
  if (!row_bytes(dtype, static_cast<uint64_t>(shape.back()))) {
    throw UsageError(
        "{} {} cannot be written as {}: its rows are no whole number of blocks of {} elements. "
        "Choose another encoding.",
        name, shape_string(shape), dtype_name(dtype), dtype_info(dtype).block_elements);
  }
  OutputTensor output{{std::move(name), dtype, std::move(shape)}, nullptr};
  if (dtype == DType::I32) {
    output.make = [plan = output.plan, seed, experts = config.n_routed_experts] {
      return random_expert_ids(plan.dtype, plan.shape[1], experts, seed, plan.name);
    };
  } else {
    output.make = [plan = output.plan, seed, distribution = weight_distribution(spec)] {
      return random_numbers(plan.dtype, distribution, seed, plan.name);
    };
  }
  return output;
}

}  // namespace lethe::synth
