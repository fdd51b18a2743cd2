#include "model/moe.h"

#include <fmt/core.h>

#include <algorithm>

#include "ops/experts.h"
#include "ops/profile.h"
#include "tensor/rounding.h"

namespace lethe::model {

MoE::MoE(const WeightLoader& loader, const std::string& prefix, const Shape& shape)
    : shape_(shape), shared_(loader.expert(prefix + ".shared_experts")) {
  const ModelConfig& config = loader.config();
  if (shape.hash_routed) {
    tid2eid_ = loader.checkpoint().get(prefix + ".gate.tid2eid").tensor;
  } else {
    bias_ = loader.vector(prefix + ".gate.bias");
  }
  router_ = {.gate = loader.linear(prefix + ".gate", ops::LinearRole::F32),
             .scoring = ops::parse_scoring_function(config.scoring_func),
             .bias = bias_,
             .k = shape.experts_per_token,
             .normalize = config.norm_topk_prob,
             .scale = static_cast<float>(config.routed_scaling_factor),
             .temperature = static_cast<float>(config.gate_temp)};
  std::vector<StoredExpert> stored;
  cache_ = loader.expert_cache();
  for (int64_t e = 0; e < shape.num_experts; ++e) {
    const std::string name = fmt::format("{}.experts.{}", prefix, e);
    if (cache_ != nullptr) {
      stored.push_back(loader.stored_expert(name));
    } else {
      experts_.push_back(loader.expert(name));
    }
  }
  if (cache_ != nullptr) cache_group_ = cache_->add_group(stored, shape.experts_per_token);
}

namespace {

/// The experts that anybody chose, ascending.
RecycledVector<int32_t> experts_in(const ops::IndexMatrix& chosen) {
  RecycledVector<int32_t> experts(chosen.values().begin(), chosen.values().end());
  std::sort(experts.begin(), experts.end());
  experts.erase(std::unique(experts.begin(), experts.end()), experts.end());
  return experts;
}

}  // namespace

ops::IndexMatrix MoE::table_rows(std::span<const int32_t> tokens) const {
  const int64_t k = shape_.experts_per_token;
  const bool wide = tid2eid_->dtype == DType::I64;
  ops::IndexMatrix rows(static_cast<int64_t>(tokens.size()), k);
  for (size_t t = 0; t < tokens.size(); ++t) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t at = tokens[t] * k + i;
      const std::byte* p = tid2eid_->data.data() + at * (wide ? 8 : 4);
      rows.row(static_cast<int64_t>(t))[static_cast<size_t>(i)] =
          wide ? static_cast<int32_t>(load_unaligned<int64_t>(p)) : load_unaligned<int32_t>(p);
    }
  }
  return rows;
}

namespace {

void read_expert(ops::ProfileScope& profile, const ops::ExpertWeights& expert) {
  for (const ops::Linear* matrix : {&expert.w1, &expert.w3, &expert.w2}) profile.read(*matrix);
}

}  // namespace

void MoE::prefetch(std::span<const int32_t> tokens) const {
  if (cache_ == nullptr || !tid2eid_) return;
  cache_->prefetch(cache_group_, experts_in(table_rows(tokens)));
}

/// Adds the routed experts to y, wave by wave, and gives the shared expert's output, computed while
/// the first ones are being read. Waves are ascending, so that sums are as without a cache.
ops::Matrix MoE::cached_experts(const ops::Device& device, const ops::Matrix& x,
                                const ops::Routes& routes, ops::ProfileScope& profile,
                                ops::Matrix& y) const {
  ExpertWaves waves(*cache_, cache_group_, experts_in(routes.experts));
  ops::Matrix shared = ops::expert(device, x, shared_, shape_.swiglu_limit_shared, {});
  for (auto wave = waves.next(); !wave.empty(); wave = waves.next()) {
    for (const ops::ExpertWeights& expert : wave) {
      if (expert.w1.weight.present()) read_expert(profile, expert);
    }
    ops::moe_experts(device, x, routes, {.routed = wave, .limit = shape_.swiglu_limit}, y);
  }
  return shared;
}

ops::Matrix MoE::forward(const ops::Device& device, const ops::Matrix& x,
                         std::span<const int32_t> tokens, const TraceScope& trace) const {
  std::optional<ops::IndexMatrix> table;
  if (tid2eid_) table = table_rows(tokens);
  const ops::Routes routes = ops::route(device, x, router_, table ? &*table : nullptr);
  trace.add("gate_experts", routes.experts);
  trace.add("gate_weights", routes.weights);
  trace.add("gate_selection", routes.selection);

  ops::Matrix y(x.rows(), x.cols());
  ops::ProfileScope profile(device, ops::Part::Experts);
  read_expert(profile, shared_);
  if (cache_ != nullptr) {
    const ops::Matrix shared = cached_experts(device, x, routes, profile, y);
    device.for_rows(y.rows(), [&](int64_t t) {
      const auto in = shared.row(t);
      const auto out = y.row(t);
      for (size_t d = 0; d < out.size(); ++d) out[d] += in[d];
    });
  } else {
    if (device.profile() != nullptr) {
      for (const int32_t e : experts_in(routes.experts)) {
        read_expert(profile, experts_[static_cast<size_t>(e)]);
      }
    }
    ops::moe_experts(device, x, routes,
                     {.routed = experts_,
                      .limit = shape_.swiglu_limit,
                      .shared = &shared_,
                      .shared_limit = shape_.swiglu_limit_shared},
                     y);
  }
  device.store_bf16(y);
  return y;
}

namespace {

/// Entry `index` of a per-layer list whose last entry also serves what follows; 0 if there is none.
float limit_of(const std::vector<double>& limits, int64_t index) {
  if (limits.empty()) return 0;
  const auto last = static_cast<int64_t>(limits.size()) - 1;
  return static_cast<float>(limits[static_cast<size_t>(std::min(index, last))]);
}

}  // namespace

MoE::Shape moe_shape(const ModelConfig& config, int64_t index) {
  return {.num_experts = config.n_routed_experts,
          .experts_per_token = config.num_experts_per_tok,
          .swiglu_limit = limit_of(config.swiglu_limit, index),
          .swiglu_limit_shared = limit_of(config.swiglu_limit_shared, index)};
}

}  // namespace lethe::model
