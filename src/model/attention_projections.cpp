#include "model/attention_projections.h"

#include "ops/norm.h"
#include "ops/profile.h"

namespace lethe::model {

AttentionProjections::AttentionProjections(const WeightLoader& loader, const std::string& prefix)
    : norm_eps_(loader.config().rms_norm_eps),
      heads_(loader.config().num_attention_heads),
      groups_(loader.config().o_groups),
      wq_a_(loader.linear(prefix + ".wq_a", ops::LinearRole::Fp8)),
      wq_b_(loader.linear(prefix + ".wq_b", ops::LinearRole::Fp8)),
      wkv_(loader.linear(prefix + ".wkv", ops::LinearRole::Fp8)),
      wo_a_(loader.linear(prefix + ".wo_a", ops::LinearRole::Bf16)),
      wo_b_(loader.linear(prefix + ".wo_b", ops::LinearRole::Fp8)),
      q_norm_(loader.vector(prefix + ".q_norm.weight")),
      kv_norm_(loader.vector(prefix + ".kv_norm.weight")),
      sinks_(loader.vector(prefix + ".attn_sink")) {}

ops::Matrix AttentionProjections::low_rank_query(const ops::Device& device,
                                                 const ops::Matrix& x) const {
  ops::ProfileScope profile(device, ops::Part::Projections);
  profile.read(wq_a_);
  ops::Matrix qr = ops::linear(device, x, wq_a_);
  ops::rms_norm(device, qr, q_norm_, norm_eps_);
  return qr;
}

ops::Matrix AttentionProjections::query(const ops::Device& device, const ops::Matrix& qr) const {
  ops::ProfileScope profile(device, ops::Part::Projections);
  profile.read(wq_b_);
  return ops::linear(device, qr, wq_b_);
}

ops::Matrix AttentionProjections::key_value(const ops::Device& device, const ops::Matrix& x,
                                            const ops::RopeTable& rope,
                                            std::span<const int64_t> positions) const {
  ops::ProfileScope profile(device, ops::Part::Projections);
  profile.read(wkv_);
  ops::Matrix kv = ops::linear(device, x, wkv_);
  ops::rms_norm(device, kv, kv_norm_, norm_eps_);
  ops::rope(device, kv, 1, rope, positions);
  return kv;
}

ops::Matrix AttentionProjections::output(const ops::Device& device, ops::Matrix& o,
                                         const ops::RopeTable& rope,
                                         std::span<const int64_t> positions) const {
  ops::ProfileScope profile(device, ops::Part::Projections);
  profile.read(wo_a_);
  profile.read(wo_b_);
  ops::rope(device, o, heads_, rope, positions, /*inverse=*/true);
  return ops::linear(device, ops::grouped_linear(device, o, wo_a_, groups_), wo_b_);
}

}  // namespace lethe::model
