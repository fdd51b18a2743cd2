#pragma once

#include <string>
#include <vector>

#include "model/hyper_connection.h"
#include "model/moe.h"
#include "model/v4/attention.h"

namespace lethe::model::v4 {

/// One V4 block: attention, then the mixture of experts, each inside its hyper-connection.
/// Source: spec V4 4.1.
class Block {
 public:
  /// `index`: number among the layers, or among the draft blocks if `draft`.
  Block(const WeightLoader& loader, int64_t index, bool draft, const RopeTables& rope,
        ops::Numerics numerics);

  /// streams: [tokens, hc_mult * dim], updated in place.
  void forward(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
               const TraceScope& trace) const;

  /// See MoE::prefetch.
  void prefetch_experts(const Batch& batch) const { ffn_.prefetch(batch.tokens); }

  // The sublayers alone, from their normed input (teacher-forced module tests).
  ops::Matrix attention(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                        const TraceScope& trace) const;
  ops::Matrix feed_forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                           const TraceScope& trace) const;

  LayerCacheLayout cache_layout() const { return attention_.cache_layout(); }

 private:
  int64_t index_;
  bool draft_;
  double norm_eps_;
  int64_t streams_;
  HyperConnection attention_connection_;
  HyperConnection ffn_connection_;
  std::vector<float> attention_norm_;
  std::vector<float> ffn_norm_;
  Attention attention_;
  MoE ffn_;
};

}  // namespace lethe::model::v4
