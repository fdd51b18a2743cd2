#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/trace.h"
#include "model/v41/block.h"

namespace lethe::model::v41 {

/// Picks the next token from logits [vocab].
using TokenChooser = std::function<int32_t(std::span<const float>)>;
/// The most likely token, ties to the lower id.
int32_t greedy_token(std::span<const float> logits);

/// A block of guesses: `tokens[i]` was chosen from row i of `logits`.
struct DraftBlock {
  std::vector<int32_t> tokens;    // [block]
  ops::Matrix logits;             // [block, vocab] f32, Markov bias included
  std::vector<float> confidence;  // [block] raw: sigmoid(confidence) ~ probability of acceptance
};

/// The DSpark draft head: a few blocks that read what the main model thought (`hidden`), guess a
/// whole block of tokens at once, and refine the guesses one after the other by a bigram bias.
/// Keeps one window row per stage and committed position in the state. Source: spec V4.1 section 7.
class DSpark {
 public:
  /// Reads mtp.*, and shares the model's embedding and head. Only tokens below `num_tokens` are
  /// guessed. `rope` must outlive this.
  DSpark(const WeightLoader& loader, const RopeTables& rope, ops::Numerics numerics,
         int64_t num_tokens);

  /// Position that the next row of feed() belongs to: the number of rows fed.
  static int64_t position(const SequenceState& state);
  /// Takes in what the main model computed at the next committed positions. hidden: [rows,
  /// targets * dim] (ForwardResult::hidden). Never past state.position().
  void feed(const ops::Device& device, SequenceState& state, const ops::Matrix& hidden) const;

  /// Guesses the tokens after `anchor`, which is the token for position(state): the first position
  /// that was not fed (normally state.position()). The state is left as it was.
  DraftBlock draft(const ops::Device& device, SequenceState& state, int32_t anchor,
                   const TokenChooser& choose, const TraceScope& trace) const;

  std::vector<LayerCacheLayout> cache_layouts() const;

 private:
  /// From the last stage's streams: x collapsed [block, dim], logits, then the sequential choice.
  DraftBlock choose_tokens(const ops::Device& device, const ops::Matrix& x, int32_t anchor,
                           const TokenChooser& choose) const;

  double norm_eps_;
  int64_t hc_mult_;
  int64_t block_size_;
  int64_t num_tokens_;
  int32_t noise_token_id_;
  quant::Weight embed_;
  ops::Linear head_;
  ops::Linear main_proj_;
  std::vector<float> main_norm_;
  std::vector<float> norm_;
  quant::Weight markov_embed_;
  ops::Linear markov_head_;
  ops::Linear confidence_;
  std::vector<Block> stages_;
};

}  // namespace lethe::model::v41
