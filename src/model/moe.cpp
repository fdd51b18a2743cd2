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
  for (int64_t e = 0; e < shape.num_experts; ++e) {
    experts_.push_back(loader.expert(fmt::format("{}.experts.{}", prefix, e)));
  }
}

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

/// Each expert that some token of the batch goes to is read once, the shared one always.
void MoE::read_experts(ops::ProfileScope& profile, const ops::IndexMatrix& chosen) const {
  read_expert(profile, shared_);
  std::vector<bool> seen(experts_.size());
  for (int64_t t = 0; t < chosen.rows(); ++t) {
    for (const int32_t e : chosen.row(t)) {
      const auto at = static_cast<size_t>(e);
      if (!seen[at]) read_expert(profile, experts_[at]);
      seen[at] = true;
    }
  }
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
  if (device.profile() != nullptr) read_experts(profile, routes.experts);
  ops::moe_experts(device, x, routes,
                   {.routed = experts_,
                    .limit = shape_.swiglu_limit,
                    .shared = &shared_,
                    .shared_limit = shape_.swiglu_limit_shared},
                   y);
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
