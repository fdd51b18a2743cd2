#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "model/attention_projections.h"
#include "model/batch.h"
#include "model/rope_tables.h"
#include "model/trace.h"
#include "model/v41/compressor.h"
#include "model/v41/lightning_indexer.h"
#include "model/v41/shared_streams.h"
#include "ops/sparse_attention.h"

namespace lethe::model::v41 {

/// Which of a V4.1 layer's attention parts exist; from the configuration's source lists.
struct AttentionRole {
  int64_t ratio = 0;
  bool kv_source = false;     ///< has a compressor, publishes rows and index keys
  bool index_source = false;  ///< has an indexer, publishes a choice of rows
  LightningIndexer::Candidates candidates = LightningIndexer::Candidates::Ignore;
};
/// Role of a layer. Drafts have the default role.
AttentionRole attention_role(const ModelConfig& config, int64_t layer);

/// Sparse attention of one layer: the sliding window, plus (ratio > 0) the chosen rows of the
/// nearest KV source at or before it. Source: spec V4.1 4.1.
class Attention {
 public:
  /// Reads PREFIX.* ("layers.3.attn"). `rope` must outlive this.
  Attention(const WeightLoader& loader, const std::string& prefix, const AttentionRole& role,
            const RopeTables& rope, ops::Numerics numerics);

  /// x: [tokens, dim], the normed input. Appends to each sequence's cache of `layer`, publishes
  /// what this layer is the source of, then attends. Returns [tokens, dim].
  ops::Matrix forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                      int64_t layer, SharedStreams& shared, const TraceScope& trace) const;

  /// The part of forward() that later tokens can see: appends to the caches of `layer`.
  void remember(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                int64_t layer) const;

  /// Draft stages: appends the rows of committed positions to the caches of `stage`. main_x:
  /// [tokens, dim], from the main model.
  void feed_draft(const ops::Device& device, const ops::Matrix& main_x, const Batch& batch,
                  int64_t stage) const;
  /// Draft stages: a block of guesses after the committed positions. Every row sees the last
  /// `sliding_window` committed rows and the whole block; the cache is left as it was. One
  /// sequence.
  ops::Matrix forward_draft(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                            int64_t stage) const;

  LayerCacheLayout cache_layout() const;

  /// With `true`, a KV source takes over the index keys only in passes that complete a group, as
  /// the reference does (spec V4.1 4.3 "stale index keys").
  void set_stale_index_keys(bool stale) noexcept { stale_index_keys_ = stale; }

 private:
  ops::Matrix rotated_queries(const ops::Device& device, const ops::Matrix& qr,
                              const Batch& batch) const;
  void append_window(const ops::Matrix& kv, const SequenceRows& rows, ops::RowStore& window) const;
  void publish_keys(const Batch& batch, int64_t layer, SharedStreams& shared) const;
  ops::SparseAttentionArgs attention_args(const SequenceRows& rows,
                                          const ops::RowStore& window) const;

  AttentionRole role_;
  int64_t heads_;
  int64_t head_dim_;
  int64_t window_;
  const ops::RopeTable* rope_;
  AttentionProjections projections_;
  ops::RowCodec window_codec_;
  ops::RowCodec row_codec_;  // of the compressed rows, whoever owns them
  bool stale_index_keys_ = false;
  std::optional<Compressor> compressor_;
  std::optional<LightningIndexer> indexer_;
};

}  // namespace lethe::model::v41
