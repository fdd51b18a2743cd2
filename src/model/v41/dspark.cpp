#include "model/v41/dspark.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/error.h"
#include "ops/embedding.h"
#include "ops/norm.h"

namespace lethe::model::v41 {

namespace {

std::string last_stage(const ModelConfig& config) {
  return fmt::format("mtp.{}", config.num_nextn_predict_layers - 1);
}

/// A batch of one sequence's rows at consecutive positions.
Batch draft_batch(SequenceState& state, int64_t position, RecycledVector<int32_t> tokens) {
  Batch batch;
  batch.tokens = std::move(tokens);
  batch.sequences.push_back({&state, 0, batch.rows(), position});
  for (int64_t i = 0; i < batch.rows(); ++i) batch.positions.push_back(position + i);
  return batch;
}

}  // namespace

int32_t greedy_token(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

DSpark::DSpark(const WeightLoader& loader, const RopeTables& rope, ops::Numerics numerics,
               int64_t num_tokens)
    : norm_eps_(loader.config().rms_norm_eps),
      hc_mult_(loader.config().hc_mult),
      block_size_(loader.config().dspark.block_size),
      num_tokens_(num_tokens),
      noise_token_id_(static_cast<int32_t>(loader.config().dspark.noise_token_id)),
      embed_(loader.matrix("embed.weight")),
      head_(loader.linear("head", ops::LinearRole::Head)),
      main_proj_(loader.linear("mtp.0.main_proj", ops::LinearRole::Fp8)),
      main_norm_(loader.vector("mtp.0.main_norm.weight")),
      norm_(loader.vector(last_stage(loader.config()) + ".norm.weight")),
      markov_embed_(loader.matrix(last_stage(loader.config()) + ".markov_head.embed.weight")),
      markov_head_(
          loader.linear(last_stage(loader.config()) + ".markov_head.head", ops::LinearRole::Head)),
      confidence_(loader.linear(last_stage(loader.config()) + ".confidence_head.proj",
                                ops::LinearRole::F32)) {
  for (int64_t s = 0; s < loader.config().num_nextn_predict_layers; ++s) {
    stages_.push_back(Block::draft_stage(loader, s, rope, numerics));
  }
}

std::vector<LayerCacheLayout> DSpark::cache_layouts() const {
  std::vector<LayerCacheLayout> layouts;
  for (const Block& stage : stages_) layouts.push_back(stage.attention().cache_layout());
  return layouts;
}

int64_t DSpark::position(const SequenceState& state) {
  return state.draft(0).window.end();
}

void DSpark::feed(const ops::Device& device, SequenceState& state,
                  const ops::Matrix& hidden) const {
  const int64_t first = position(state);
  if (first + hidden.rows() > state.position()) {
    throw Error(
        "the draft head cannot run ahead of the model: it stands at position {}, {} rows "
        "would pass {}",
        first, hidden.rows(), state.position());
  }
  ops::Matrix main_x = ops::linear(device, hidden, main_proj_);
  ops::rms_norm(device, main_x, main_norm_, norm_eps_);
  const Batch batch =
      draft_batch(state, first, RecycledVector<int32_t>(static_cast<size_t>(hidden.rows())));
  for (size_t s = 0; s < stages_.size(); ++s) {
    stages_[s].attention().feed_draft(device, main_x, batch, static_cast<int64_t>(s));
  }
}

DraftBlock DSpark::draft(const ops::Device& device, SequenceState& state, int32_t anchor,
                         const TokenChooser& choose, const TraceScope& trace) const {
  RecycledVector<int32_t> tokens(static_cast<size_t>(block_size_), noise_token_id_);
  tokens[0] = anchor;
  const Batch batch = draft_batch(state, position(state), std::move(tokens));
  ops::Matrix streams = repeat_streams(ops::embed(device, embed_, batch.tokens), hc_mult_);
  ops::Matrix pre = identity_pre_mix(batch.rows(), hc_mult_);
  for (size_t s = 0; s < stages_.size(); ++s) {
    stages_[s].forward_draft(device, streams, pre, batch, trace.inside("mtp", s));
  }
  return choose_tokens(device, ops::hyper_collapse(device, streams, pre), anchor, choose);
}

DraftBlock DSpark::choose_tokens(const ops::Device& device, const ops::Matrix& x, int32_t anchor,
                                 const TokenChooser& choose) const {
  ops::Matrix normed = x;
  ops::rms_norm(device, normed, norm_, norm_eps_);
  DraftBlock block{.tokens = {}, .logits = ops::linear(device, normed, head_), .confidence = {}};
  int32_t previous = anchor;
  for (int64_t i = 0; i < x.rows(); ++i) {
    const ops::Matrix e = ops::embed(device, markov_embed_, std::span(&previous, 1));
    const ops::Matrix bias = ops::linear(device, e, markov_head_);
    const std::span<float> logits = block.logits.row(i);
    for (size_t v = 0; v < logits.size(); ++v) logits[v] += bias.row(0)[v];

    ops::Matrix joined(1, x.cols() + e.cols());
    std::copy(x.row(i).begin(), x.row(i).end(), joined.row(0).begin());
    std::copy(e.row(0).begin(), e.row(0).end(), joined.row(0).begin() + x.cols());
    block.confidence.push_back(ops::linear(device, joined, confidence_).row(0)[0]);
    previous = choose(logits.first(static_cast<size_t>(num_tokens_)));
    block.tokens.push_back(previous);
  }
  return block;
}

}  // namespace lethe::model::v41
