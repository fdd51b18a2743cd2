#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/hyper_connection.h"
#include "model/moe.h"
#include "model/v41/attention.h"
#include "model/v41/engram.h"

namespace lethe::model::v41 {

/// One V4.1 block: attention, then the mixture of experts, on hyper-connected streams with lagged
/// mixes: a sublayer's input is collapsed with the `pre` coefficients of the sublayer before it,
/// its output spread with its own `post` and `comb`. Source: spec V4.1 section 4.
class Block {
 public:
  /// A layer of the main model. `hash`: of the model's Engram layers; must outlive this.
  static Block layer(const WeightLoader& loader, int64_t index, const RopeTables& rope,
                     const EngramHash& hash, ops::Numerics numerics);
  /// A DSpark stage.
  static Block draft_stage(const WeightLoader& loader, int64_t index, const RopeTables& rope,
                           ops::Numerics numerics);

  /// Layers that have an Engram begin to fetch its rows (Engram::prefetch).
  void prefetch_engram(const ops::Device& device, const Batch& batch) const;
  /// Layers that have an Engram add it to the streams; before everything else of the layer.
  void inject_engram(const ops::Device& device, ops::Matrix& streams, const Batch& batch,
                     const TraceScope& trace) const;
  /// The rest of a layer. streams: [tokens, hc_mult * dim] and pre: [tokens, hc_mult], the lagged
  /// coefficients, are updated in place.
  void forward(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
               const Batch& batch, SharedStreams& shared, const TraceScope& trace) const;
  /// Of the rest of a layer only what later tokens can see: the caches of its attention.
  void remember(const ops::Device& device, const ops::Matrix& streams, const ops::Matrix& pre,
                const Batch& batch) const;
  /// A draft stage on a block of guesses (Attention::forward_draft).
  void forward_draft(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
                     const Batch& batch, const TraceScope& trace) const;

  const Attention& attention() const noexcept { return attention_; }
  Attention& attention() noexcept { return attention_; }

 private:
  Block(const WeightLoader& loader, const std::string& prefix, const AttentionRole& role,
        const MoE::Shape& experts, const RopeTables& rope, ops::Numerics numerics);

  template <typename AttentionForward>
  void sublayers(const ops::Device& device, ops::Matrix& streams, ops::Matrix& pre,
                 const Batch& batch, const TraceScope& trace, AttentionForward&& attend) const;

  int64_t index_ = 0;
  double norm_eps_;
  int64_t streams_;
  HyperConnection attention_connection_;
  HyperConnection ffn_connection_;
  std::vector<float> attention_norm_;
  std::vector<float> ffn_norm_;
  std::optional<Engram> engram_;
  Attention attention_;
  MoE ffn_;
};

/// The `pre` coefficients before the first layer: the first stream alone. [tokens, hc_mult]
ops::Matrix identity_pre_mix(int64_t tokens, int64_t hc_mult);

}  // namespace lethe::model::v41
