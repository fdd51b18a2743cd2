#pragma once

#include <string>
#include <vector>

#include "model/v4/block.h"
#include "model/v4/output_head.h"

namespace lethe::model::v4 {

/// The multi-token-prediction block: from the streams after the last layer at position i and the
/// token at i + 1 it predicts token i + 2. Its window cache must be fed every position.
/// Source: spec V4 4.6.
class Mtp {
 public:
  /// Reads mtp.INDEX.*.
  Mtp(const WeightLoader& loader, int64_t index, const RopeTables& rope, ops::Numerics numerics);

  /// batch: positions i with the tokens of i + 1; streams: h_i [tokens, hc_mult * dim].
  /// Appends to the draft caches; returns logits [tokens, vocab].
  ops::Matrix forward(const ops::Device& device, const ops::Matrix& streams, const Batch& batch,
                      const TraceScope& trace) const;

  LayerCacheLayout cache_layout() const { return block_.cache_layout(); }

 private:
  double norm_eps_;
  int64_t streams_;
  quant::Weight embed_;
  ops::Linear e_proj_;
  ops::Linear h_proj_;
  std::vector<float> enorm_;
  std::vector<float> hnorm_;
  Block block_;
  OutputHead head_;
};

}  // namespace lethe::model::v4
