#pragma once

#include <memory>
#include <vector>

#include "model/model.h"
#include "model/v4/mtp.h"

namespace lethe::model::v4 {

/// DeepSeek-V4 (Pro, Flash). Source: spec V4 section 4.
class V4Model : public Model {
 public:
  V4Model(const Checkpoint& checkpoint, const ops::Device& device, const ModelOptions& options);

  const ModelConfig& config() const override { return config_; }
  const ops::Device& device() const override { return device_; }
  SequenceState new_state() const override { return SequenceState(layout_); }
  using Model::forward;
  ForwardResult forward(std::span<const SequenceChunk> chunks,
                        const ForwardOptions& options) override;
  bool has_draft() const override { return !mtp_.empty(); }
  const ExpertCache* expert_cache() const override { return expert_cache_.get(); }

  /// One sequence's next rows for the MTP block: `hidden` from ForwardResult, and the token that
  /// follows each of those positions.
  struct MtpChunk {
    SequenceState* state = nullptr;
    const ops::Matrix* hidden = nullptr;  // [rows, hc_mult * dim]
    std::span<const int32_t> next_tokens;
  };
  /// Feeds the first MTP block, which stands at its own position (rows fed so far) and must be fed
  /// without gaps. Returns logits [rows, vocab]: row of position i predicts token i + 2.
  ops::Matrix mtp_forward(const MtpChunk& chunk, Trace* trace = nullptr);

  /// A block by number, for module tests.
  const Block& block(int64_t index) const { return blocks_[static_cast<size_t>(index)]; }

 private:
  std::shared_ptr<const StateLayout> make_layout() const;
  /// The residual streams after the last layer; appends to the states' caches.
  ops::Matrix run_blocks(const Batch& batch, const TraceScope& trace);

  ModelConfig config_;
  ops::Device device_;
  RopeTables rope_;
  std::unique_ptr<ExpertCache> expert_cache_;
  quant::Weight embed_;
  std::vector<Block> blocks_;
  OutputHead head_;
  std::vector<Mtp> mtp_;
  std::shared_ptr<const StateLayout> layout_;
};

}  // namespace lethe::model::v4
