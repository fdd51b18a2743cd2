#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <vector>

#include "base/error.h"
#include "model/model.h"

namespace lethe::testing {

/// A decoder without weights for tests of what stands above models: its state holds the token ids
/// themselves, and the logits of a position are a function of all tokens up to it, so that a state
/// that holds anything else than it should shows at once. Remembers what it was asked.
class FakeModel : public model::Model {
 public:
  explicit FakeModel(int64_t vocab = 50, int64_t context = 1000)
      : device_(team_, ops::Numerics::F32) {
    config_.vocab_size = vocab;
    config_.max_position_embeddings = context;
    model::StateLayout layout;
    layout.window = 1;
    layout.max_positions = context;
    layout.history_tokens = context;
    layout.layers.push_back({.window_row_bytes = 1});  // bounds how far a state can be taken back
    layout_ = std::make_shared<const model::StateLayout>(layout);
  }

  const ModelConfig& config() const override { return config_; }
  const ops::Device& device() const override { return device_; }
  model::SequenceState new_state() const override { return model::SequenceState(layout_); }
  std::vector<int32_t> refused_tokens() const override { return refused; }
  int64_t narrowing_rows() const override { return narrowing; }
  bool has_draft() const override { return false; }
  using Model::forward;

  model::ForwardResult forward(std::span<const model::SequenceChunk> chunks,
                               const model::ForwardOptions&) override {
    const auto batch =
        model::Batch::of(chunks, config_.vocab_size, config_.max_position_embeddings);
    Step step;
    for (const model::SequenceChunk& chunk : chunks) {
      step.push_back(chunk.tokens.size());
      if (chunk.narrow) num_narrow += static_cast<int64_t>(chunk.tokens.size());
    }
    steps.push_back(step);
    for (const int32_t token : batch.tokens) {
      if (std::ranges::find(refused, token) != refused.end()) throw Error("token {}", token);
    }
    if (on_forward) on_forward();
    int64_t rows = 0;
    for (const model::SequenceChunk& chunk : chunks) rows += chunk.logits != model::LogitRows::None;
    model::ForwardResult result;
    result.logits = ops::Matrix(rows, config_.vocab_size);
    rows = 0;
    for (const model::SequenceChunk& chunk : chunks) {
      take_in(chunk);
      if (chunk.logits == model::LogitRows::None) continue;
      const std::vector<float> logits = logits_after(*chunk.state);
      std::copy(logits.begin(), logits.end(), result.logits.row(rows++).begin());
    }
    return result;
  }

  /// The greedy completion of a prompt, computed without states.
  std::vector<int32_t> expected_greedy(std::vector<int32_t> prompt, size_t count) const {
    std::vector<int32_t> out;
    while (out.size() < count) {
      uint64_t hash = 0;
      for (const int32_t token : prompt) hash = mix(hash, token);
      const std::vector<float> logits = logits_of(hash);
      out.push_back(
          static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
      prompt.push_back(out.back());
    }
    return out;
  }

  /// What a state has taken in.
  static std::vector<int32_t> tokens_of(model::SequenceState& state) {
    std::vector<int32_t> tokens(static_cast<size_t>(state.position()));
    for (size_t p = 0; p < tokens.size(); ++p) {
      std::memcpy(&tokens[p], state.history().row(static_cast<int64_t>(p)), sizeof(int32_t));
    }
    return tokens;
  }

  using Step = std::vector<size_t>;  ///< tokens of each chunk
  std::vector<Step> steps;
  int64_t narrowing = 0;             ///< narrowing_rows()
  int64_t num_narrow = 0;            ///< tokens that came in narrow chunks
  std::vector<int32_t> refused;      ///< refused_tokens()
  std::function<void()> on_forward;  ///< called in every pass; may throw
  std::function<void(std::vector<float>&)> change_logits;

 private:
  static uint64_t mix(uint64_t hash, int32_t token) {
    hash = (hash ^ static_cast<uint64_t>(token + 1)) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
  }

  void take_in(const model::SequenceChunk& chunk) const {
    ops::RowStore& history = chunk.state->history();
    for (const int32_t token : chunk.tokens) {
      std::memcpy(history.mutable_row(history.append(1)), &token, sizeof(token));
    }
    const auto count = static_cast<int64_t>(chunk.tokens.size());
    if (chunk.narrow) {
      chunk.state->advance_narrow(count, 0, narrowing);
    } else {
      if (chunk.logits != model::LogitRows::None && !chunk.state->is_exact()) {
        throw Error("logits at position {} are not exact", chunk.state->position());
      }
      chunk.state->layer(0).window.append(count);
      chunk.state->advance(count);
    }
  }

  std::vector<float> logits_after(model::SequenceState& state) const {
    uint64_t hash = 0;
    for (const int32_t token : tokens_of(state)) hash = mix(hash, token);
    return logits_of(hash);
  }

  std::vector<float> logits_of(uint64_t hash) const {
    std::vector<float> logits(static_cast<size_t>(config_.vocab_size));
    for (float& logit : logits) {
      hash = mix(hash, 7);
      logit = static_cast<float>(hash % 4096) / 1024;
    }
    if (change_logits) change_logits(logits);
    return logits;
  }

  ModelConfig config_;
  ThreadTeam team_{1};
  ops::Device device_;
  std::shared_ptr<const model::StateLayout> layout_;
};

}  // namespace lethe::testing
