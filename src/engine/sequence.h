#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cache/prefix_cache.h"
#include "engine/request.h"
#include "model/batch.h"
#include "model/model.h"

namespace lethe::engine {

/// A request on its way: its tokens, the state that has taken some of them in, what is to be fed
/// next and what becomes of the logits. Used by the scheduler's thread only.
///
/// A step feeds next_chunk() and hands the logits of the last one to take_logits(). Speculative
/// decoding will feed drafts behind the last token and hand in their rows as well; nothing else
/// knows how many tokens a step brings.
class Sequence {
 public:
  Sequence(RequestId id, Request request, std::shared_ptr<RequestSink> sink, Sampler sampler);

  RequestId id() const noexcept { return id_; }
  const Request& request() const noexcept { return request_; }
  /// Most tokens that its state can come to hold.
  int64_t max_positions() const noexcept;

  /// Begins: from a cached state or an empty one. narrowing_rows: the model's.
  void start(model::SequenceState state, int64_t cached_tokens, int64_t narrowing_rows);
  /// Positions in the prompt at which the state is worth keeping, besides its end.
  void keep_state_at(int64_t position);

  bool is_prefilling() const noexcept { return state_->position() < prompt_tokens(); }
  /// The next chunk: one sampled token, or up to `prompt_budget` of the prompt, ending early where
  /// the state is worth keeping; narrow as far as that state and those before it allow. Logits are
  /// wanted of the last row unless more prompt follows.
  model::SequenceChunk next_chunk(int64_t prompt_budget);
  /// Whether all that was fed so far is prompt.
  bool is_in_prompt() const noexcept { return state_->position() <= prompt_tokens(); }
  /// After a forward pass: whether its last row is the newest token's.
  bool wants_logits() const noexcept { return state_->position() == fed_end(); }
  /// Whether the state, as it stands now, should be kept for others.
  bool is_worth_keeping() const;

  /// After a forward pass: tells the sink how far the prompt is.
  void report_prefill();
  /// Samples from the logits of the last token and delivers. True: the request ended.
  bool take_logits(std::span<const float> logits);

  /// Tells the sink about the end. The sequence is of no more use.
  void finish(StopReason reason, std::string error = {}) noexcept;
  StopReason reason() const noexcept { return reason_; }

  const model::SequenceState& state() const noexcept { return *state_; }
  /// The prompt, or with all that was sampled (the last of it is not in the state).
  const cache::TokenList& prompt() const noexcept { return prompt_; }
  cache::TokenList all_tokens() const;

 private:
  using Clock = std::chrono::steady_clock;
  int64_t prompt_tokens() const noexcept { return static_cast<int64_t>(prompt_->size()); }
  int64_t fed_end() const noexcept {
    return prompt_tokens() + static_cast<int64_t>(sampled_.size());
  }
  bool deliver(const SampledToken& token);
  int64_t narrow_end(int64_t goal) const noexcept;

  RequestId id_;
  Request request_;
  cache::TokenList prompt_;
  std::shared_ptr<RequestSink> sink_;
  Sampler sampler_;
  std::optional<model::SequenceState> state_;
  std::vector<int64_t> keep_at_;  // rising
  int64_t narrowing_rows_ = 0;
  std::vector<int32_t> sampled_;
  StopReason reason_ = StopReason::failed;
  Usage usage_;
  Clock::time_point submitted_ = Clock::now();
  Clock::time_point started_ = submitted_;
  std::optional<Clock::time_point> first_token_;
};

}  // namespace lethe::engine
