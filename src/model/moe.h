#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/trace.h"
#include "model/weight_loader.h"
#include "ops/profile.h"
#include "ops/router.h"

namespace lethe::model {

/// The mixture of experts of one block: gate, routed experts, shared expert.
/// Source: spec V4 4.5, V4.1 4.4.
class MoE {
 public:
  struct Shape {
    int64_t num_experts = 0;
    int64_t experts_per_token = 0;
    bool hash_routed = false;  ///< experts by token id (gate.tid2eid), V4's first layers
    float swiglu_limit = 0;
    float swiglu_limit_shared = 0;
  };
  /// Reads PREFIX.gate, PREFIX.experts.E, PREFIX.shared_experts ("layers.3.ffn").
  MoE(const WeightLoader& loader, const std::string& prefix, const Shape& shape);
  MoE(MoE&&) = default;

  /// Begins to read the experts that the tokens will use, where that is known from their ids alone
  /// and an expert cache keeps them; does nothing otherwise.
  void prefetch(std::span<const int32_t> tokens) const;

  /// x: [tokens, dim] normed input; tokens: their ids (hash routing). Returns [tokens, dim].
  ops::Matrix forward(const ops::Device& device, const ops::Matrix& x,
                      std::span<const int32_t> tokens, const TraceScope& trace) const;

 private:
  ops::IndexMatrix table_rows(std::span<const int32_t> tokens) const;
  ops::Matrix cached_experts(const ops::Device& device, const ops::Matrix& x,
                             const ops::Routes& routes, ops::ProfileScope& profile,
                             ops::Matrix& y) const;

  Shape shape_;
  std::vector<float> bias_;
  ops::RouterParams router_;
  std::optional<TensorView> tid2eid_;        // I64 or I32 [vocab, k]
  std::vector<ops::ExpertWeights> experts_;  // mapped; none if a cache keeps them
  ExpertCache* cache_ = nullptr;
  int cache_group_ = -1;
  ops::ExpertWeights shared_;
};

/// Shape of the experts of block `index` as the configuration states it (draft blocks follow the
/// layers in its per-layer lists). Not hash routed.
MoE::Shape moe_shape(const ModelConfig& config, int64_t index);

}  // namespace lethe::model
