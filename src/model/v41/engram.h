#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/trace.h"
#include "model/v41/engram_hash.h"
#include "model/weight_loader.h"

namespace lethe::model::v41 {

/// The n-gram memory of one layer: hashes of the last tokens pick rows of a huge table; a gate per
/// residual stream decides how much of what they say is added to it. Source: spec V4.1 6.5.
class Engram {
 public:
  /// Reads PREFIX.embed, .wkv, .q_weight, .k_weight ("layers.1.engram"). `engram_layer`: number
  /// among the Engram layers. `hash` must outlive this.
  Engram(const WeightLoader& loader, const std::string& prefix, size_t engram_layer,
         const EngramHash& hash);

  /// Begins to fetch the table rows of the batch's tokens from disk; they depend on the tokens
  /// alone, so the layers before this one can run meanwhile. The history must be filled.
  void prefetch(const ops::Device& device, const Batch& batch) const;

  /// streams: [tokens, hc_mult * dim], updated in place. The compressed ids of the batch's tokens
  /// must already be in each sequence's history.
  void forward(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
               const TraceScope& trace) const;

  /// Table rows of the batch's tokens: int64 [tokens * columns].
  RecycledVector<int64_t> row_ids(const Batch& batch) const;

 private:
  ops::Matrix lookup(const ops::Device& device, std::span<const int64_t> row_ids) const;
  /// Gate of stream c of one token from the stream and its key, both [dim].
  float gate(const ops::Device& device, std::span<const float> stream, std::span<const float> key,
             int64_t c) const;

  int64_t streams_;
  double norm_eps_;
  size_t engram_layer_;
  const EngramHash* hash_;
  quant::Weight embed_;           // [rows, engram_head_dim]
  ops::Linear wkv_;               // [(hc_mult + 1) * dim, columns * engram_head_dim]
  std::vector<float> qk_weight_;  // [hc_mult, dim], q_weight * k_weight
};

}  // namespace lethe::model::v41
