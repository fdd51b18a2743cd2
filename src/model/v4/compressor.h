#pragma once

#include <string>
#include <vector>

#include "model/batch.h"
#include "model/weight_loader.h"
#include "ops/rope.h"
#include "ops/row_codec.h"

namespace lethe::model::v4 {

/// Summarizes groups of `ratio` tokens into one cached entry each: a softmax over the group's
/// tokens for every channel. With ratio 4 (CSA) an entry also reads the group before its own
/// ("overlap": first half of the channels there, second half here); with 128 (HCA) only its own.
/// The indexer has a compressor of its own for its keys. Source: spec V4 4.3 and section 5.
class Compressor {
 public:
  struct Shape {
    int64_t ratio = 0;
    int64_t dim = 0;         ///< d, or dI for the indexer
    bool index_key = false;  ///< Hadamard after RoPE (index keys)
    const ops::RopeTable* rope = nullptr;
    ops::RowCodec codec;  ///< of the finished entries
  };
  /// Reads PREFIX.wkv, .wgate, .ape, .norm ("layers.2.attn.compressor").
  Compressor(const WeightLoader& loader, const std::string& prefix, const Shape& shape);

  /// Channels of value (and of gate) per token: 2 d with overlap, else d.
  int64_t channels() const noexcept { return overlap_ ? 2 * shape_.dim : shape_.dim; }
  bool overlap() const noexcept { return overlap_; }
  int64_t tail_row_bytes() const noexcept { return 2 * channels() * int64_t{sizeof(float)}; }
  const ops::RowCodec& codec() const noexcept { return shape_.codec; }

  /// Takes in the batch's tokens: appends (value, gate) rows to each sequence's tail and an entry
  /// to `entries` for every group that completes. x: [tokens, dim] normed input.
  void forward(const ops::Device& device, const ops::Matrix& x, const Batch& batch, int64_t layer,
               ops::RowStore LayerCache::*tail, ops::RowStore LayerCache::*entries) const;

 private:
  void append_tail(const ops::Matrix& values, const ops::Matrix& gates, const SequenceRows& rows,
                   ops::RowStore& tail) const;
  /// Entry `group`, ready to be stored. entry: [dim]
  void build_entry(const ops::Device& device, const ops::RowStore& tail, int64_t group,
                   std::span<float> entry) const;

  Shape shape_;
  bool overlap_;
  double norm_eps_;
  ops::Linear wkv_;
  ops::Linear wgate_;
  std::vector<float> ape_;   // [ratio, channels]
  std::vector<float> norm_;  // [dim]
};

}  // namespace lethe::model::v4
