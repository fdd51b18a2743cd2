#pragma once

#include <string>

#include "model/trace.h"
#include "model/v4/compressor.h"

namespace lethe::model::v4 {

/// Chooses, for every query of a ratio-4 layer, the `index_topk` compressed entries that it attends
/// to. Source: spec V4 4.4.
class LightningIndexer {
 public:
  /// Reads PREFIX.wq_b, .weights_proj, .compressor ("layers.2.attn.indexer").
  LightningIndexer(const WeightLoader& loader, const std::string& prefix,
                   const ops::RopeTable& rope, ops::Numerics numerics);

  const Compressor& compressor() const noexcept { return compressor_; }

  /// Takes in the batch's tokens (index keys), then picks: returns [tokens, index_topk] entry
  /// numbers, best first, -1 padded. x: normed input, qr: low-rank queries.
  ops::IndexMatrix forward(const ops::Device& device, const ops::Matrix& x, const ops::Matrix& qr,
                           const Batch& batch, int64_t layer, const TraceScope& trace) const;

 private:
  ops::Matrix queries(const ops::Device& device, const ops::Matrix& qr, const Batch& batch) const;

  int64_t heads_;
  int64_t dim_;
  int64_t topk_;
  const ops::RopeTable* rope_;
  ops::Linear wq_b_;
  ops::Linear weights_proj_;
  Compressor compressor_;
};

}  // namespace lethe::model::v4
