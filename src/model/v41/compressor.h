#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/batch.h"
#include "model/weight_loader.h"
#include "ops/rope.h"
#include "ops/row_codec.h"

namespace lethe::model::v41 {

/// What a KV source layer keeps of the past for itself and the layers that share its rows: one
/// compressed row (key = value) and one index key per group of `ratio` tokens. A group's latent is
/// a softmax-weighted mean per channel (ratio > 1) or the token's own projection (ratio 1); groups
/// do not overlap. Source: spec V4.1 4.2 and the key side of 4.3.
class Compressor {
 public:
  /// Reads PREFIX.compressor.* and PREFIX.indexer.wk, .k_norm ("layers.2.attn"). `rope` must
  /// outlive this.
  Compressor(const WeightLoader& loader, const std::string& prefix, int64_t ratio,
             const ops::RopeTable& rope, ops::Numerics numerics);

  const ops::RowCodec& row_codec() const noexcept { return row_codec_; }
  const ops::RowCodec& key_codec() const noexcept { return key_codec_; }
  /// Value and gate of a token of an unfinished group, f32; 0 where groups are single tokens.
  int64_t tail_row_bytes() const noexcept;

  /// Takes in the batch's tokens: appends a compressed row and an index key to the caches of
  /// `layer` for every group that completes. x: [tokens, dim] normed input of the attention.
  void forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
               int64_t layer) const;

 private:
  /// A group that completed in this batch.
  struct Group {
    LayerCache* cache = nullptr;
    int64_t index = 0;
  };
  void append_tail(const ops::Device& device, const ops::Matrix& x, const Batch& batch,
                   int64_t layer) const;
  RecycledVector<Group> completed_groups(const Batch& batch, int64_t layer) const;
  /// Pooled, not yet normed: [groups, head_dim].
  ops::Matrix pool(const ops::Device& device, std::span<const Group> groups) const;

  int64_t ratio_;
  int64_t head_dim_;
  double norm_eps_;
  const ops::RopeTable* rope_;
  ops::RowCodec row_codec_;
  ops::RowCodec key_codec_;
  ops::Linear wkv_;
  ops::Linear wgate_;  // ratio > 1
  ops::Linear wk_;
  std::vector<float> norm_;
  std::vector<float> k_norm_;
};

}  // namespace lethe::model::v41
