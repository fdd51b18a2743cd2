#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "model/model.h"
#include "model/rope_tables.h"
#include "model/v41/block.h"
#include "model/v41/dspark.h"
#include "model/v41/engram_token_map.h"

namespace lethe::model::v41 {

/// DeepSeek-V4.1. Text only: an image needs the vision tower, which Lethe does not have.
/// Source: spec V4.1 sections 4 to 7.
class V41Model : public Model {
 public:
  V41Model(const Checkpoint& checkpoint, const ops::Device& device, const ModelOptions& options);

  const ModelConfig& config() const override { return config_; }
  const ops::Device& device() const override { return device_; }
  SequenceState new_state() const override { return SequenceState(layout_); }
  using Model::forward;
  ForwardResult forward(std::span<const SequenceChunk> chunks,
                        const ForwardOptions& options) override;
  bool has_draft() const override { return dspark_.has_value(); }

  int64_t num_tokens() const override;
  std::vector<int32_t> refused_tokens() const override;
  int64_t narrowing_rows() const override;

  /// Hands the draft head what forward(keep_hidden) returned for committed positions, in order and
  /// without gaps: `hidden` [rows, targets * dim]. Throws Error without a draft head.
  void feed_draft(SequenceState& state, const ops::Matrix& hidden);
  /// Guesses the tokens that follow `anchor`, the token for the first position that was not fed
  /// (normally state.position()). `tokens[i]` is the guess for i + 1 positions later. Throws Error
  /// for an anchor outside the vocabulary, or without a draft head.
  DraftBlock draft(SequenceState& state, int32_t anchor, const TokenChooser& choose = greedy_token,
                   Trace* trace = nullptr);

  /// A layer by number, for layer-local tests.
  const Block& block(int64_t index) const { return blocks_[static_cast<size_t>(index)]; }
  /// Puts the compressed ids of the batch's tokens into each sequence's history, as forward() does
  /// first. All tokens must be below num_tokens().
  void refuse_images(const Batch& batch) const;
  void append_history(const Batch& batch) const;

 private:
  std::shared_ptr<const StateLayout> make_layout() const;
  SharedStreams new_shared_streams(const Batch& batch) const;
  bool is_draft_target(int64_t layer) const;
  /// Layers past the last KV source, whose tokens see each other through windows only.
  int64_t num_narrow_layers() const;
  int64_t exact_narrowing_rows() const;
  int64_t last_kv_source() const { return config_.num_hidden_layers - 1 - num_narrow_layers(); }
  /// What the layers leave of a batch: rows of its sequences that are not narrow.
  struct LayersResult {
    ops::Matrix streams;  // [rows, hc_mult * dim]
    ops::Matrix pre;      // [rows, hc_mult], of the last feed-forward
    ops::Matrix hidden;   // [rows, targets * dim], if wanted
  };
  /// Runs all layers; appends to the states' caches.
  LayersResult run_layers(const Batch& all, bool keep_hidden, const TraceScope& trace);
  ops::Matrix logits(const ops::Matrix& streams, const ops::Matrix& pre,
                     std::span<const SequenceChunk> chunks, const TraceScope& trace) const;
  const DSpark& dspark() const;

  ModelConfig config_;
  ops::Device device_;
  ModelOptions options_;
  RopeTables rope_;
  EngramTokenMap token_map_;
  EngramHash hash_;
  quant::Weight embed_;
  std::vector<Block> blocks_;
  std::vector<float> norm_;
  ops::Linear head_;
  std::optional<DSpark> dspark_;
  std::shared_ptr<const StateLayout> layout_;
};

}  // namespace lethe::model::v41
