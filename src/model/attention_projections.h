#pragma once

#include <span>
#include <string>
#include <vector>

#include "model/weight_loader.h"
#include "ops/rope.h"

namespace lethe::model {

/// The matrices around one layer's attention, the same in V4 and V4.1: low-rank queries, the one
/// shared key=value head, and the grouped output. Source: spec V4 4.2, V4.1 4.1.
class AttentionProjections {
 public:
  /// Reads PREFIX.wq_a ... PREFIX.wo_b, PREFIX.attn_sink ("layers.3.attn").
  AttentionProjections(const WeightLoader& loader, const std::string& prefix);

  /// qr = rms(wq_a x): [tokens, q_lora_rank]; feeds the indexer too.
  ops::Matrix low_rank_query(const ops::Device& device, const ops::Matrix& x) const;
  /// wq_b qr: [tokens, heads * head_dim], neither normed nor rotated.
  ops::Matrix query(const ops::Device& device, const ops::Matrix& qr) const;
  /// rms(wkv x), rotated: [tokens, head_dim].
  ops::Matrix key_value(const ops::Device& device, const ops::Matrix& x, const ops::RopeTable& rope,
                        std::span<const int64_t> positions) const;
  /// Un-rotates o in place, then wo_b(grouped wo_a o): [tokens, dim].
  ops::Matrix output(const ops::Device& device, ops::Matrix& o, const ops::RopeTable& rope,
                     std::span<const int64_t> positions) const;

  std::span<const float> sinks() const noexcept { return sinks_; }

 private:
  double norm_eps_;
  int64_t heads_;
  int64_t groups_;
  ops::Linear wq_a_;
  ops::Linear wq_b_;
  ops::Linear wkv_;
  ops::Linear wo_a_;
  ops::Linear wo_b_;
  std::vector<float> q_norm_;
  std::vector<float> kv_norm_;
  std::vector<float> sinks_;
};

}  // namespace lethe::model
