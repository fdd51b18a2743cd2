#pragma once

#include <optional>
#include <string>

#include "model/attention_projections.h"
#include "model/batch.h"
#include "model/rope_tables.h"
#include "model/trace.h"
#include "model/v4/compressor.h"
#include "model/v4/lightning_indexer.h"

namespace lethe::model::v4 {

/// Sparse attention of one layer: the sliding window, plus the compressed past of its ratio: none
/// (0), the indexer's choice (4, CSA), or all of it (128, HCA). Source: spec V4 4.2.
class Attention {
 public:
  /// Reads PREFIX.* ("layers.3.attn"). `rope` must outlive this.
  Attention(const WeightLoader& loader, const std::string& prefix, int64_t ratio,
            const RopeTables& rope, ops::Numerics numerics);

  /// x: [tokens, dim], the normed input. Appends to each sequence's cache of `layer`, then attends.
  /// Returns [tokens, dim].
  ops::Matrix forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                      int64_t layer, const TraceScope& trace) const;
  /// The same over a draft block's window cache (ratio 0).
  ops::Matrix forward_draft(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                            int64_t draft, const TraceScope& trace) const;

  LayerCacheLayout cache_layout() const;

 private:
  ops::Matrix forward_in(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                         int64_t layer, bool draft, const TraceScope& trace) const;

  int64_t ratio_;
  int64_t heads_;
  int64_t head_dim_;
  int64_t window_;
  double norm_eps_;
  const ops::RopeTable* rope_;
  AttentionProjections projections_;
  ops::RowCodec codec_;
  std::optional<Compressor> compressor_;
  std::optional<LightningIndexer> indexer_;
};

}  // namespace lethe::model::v4
