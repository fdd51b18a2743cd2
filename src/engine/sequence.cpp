#include "engine/sequence.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"

namespace lethe::engine {

namespace {

/// A rest of fewer tokens than this is not worth a step of its own.
constexpr int64_t kLeastNarrowTokens = 64;
/// There is room from the start for so many sampled tokens, or for all if they are fewer.
constexpr int64_t kRoomForSampled = 4096;

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

Sequence::Sequence(RequestId id, Request request, std::shared_ptr<RequestSink> sink,
                   Sampler sampler)
    : id_(id),
      request_(std::move(request)),
      prompt_(std::make_shared<const std::vector<int32_t>>(std::move(request_.prompt))),
      sink_(std::move(sink)),
      sampler_(std::move(sampler)) {
  usage_.prompt_tokens = prompt_tokens();
}

int64_t Sequence::max_positions() const noexcept {
  return prompt_tokens() + request_.max_tokens;
}

void Sequence::start(model::SequenceState state, int64_t cached_tokens, int64_t narrowing_rows) {
  state_ = std::move(state);
  narrowing_rows_ = narrowing_rows;
  usage_.cached_tokens = cached_tokens;
  sampled_.reserve(static_cast<size_t>(std::min(request_.max_tokens, kRoomForSampled)));
  started_ = Clock::now();
}

void Sequence::keep_state_at(int64_t position) {
  if (position <= state_->position() || position >= prompt_tokens()) return;
  keep_at_.insert(std::lower_bound(keep_at_.begin(), keep_at_.end(), position), position);
}

/// Where narrow chunks of the prompt end if the next state that somebody goes on from, or takes
/// back by a few tokens, stands at `goal`.
int64_t Sequence::narrow_end(int64_t goal) const noexcept {
  if (narrowing_rows_ == 0) return 0;
  return goal - state_->layout().rollback_tokens - narrowing_rows_;
}

model::SequenceChunk Sequence::next_chunk(int64_t prompt_budget) {
  if (!is_prefilling()) {
    return {&*state_, std::span(sampled_).last(1), model::LogitRows::Last};
  }
  LETHE_CHECK(prompt_budget > 0);
  const int64_t begin = state_->position();
  const auto keep = std::upper_bound(keep_at_.begin(), keep_at_.end(), begin);
  const int64_t goal = keep != keep_at_.end() ? *keep : prompt_tokens();
  const bool narrow = narrow_end(goal) - begin >= kLeastNarrowTokens;
  const int64_t end = std::min(begin + prompt_budget, narrow ? narrow_end(goal) : goal);
  const auto tokens =
      std::span(*prompt_).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return {&*state_, tokens,
          end == prompt_tokens() ? model::LogitRows::Last : model::LogitRows::None, narrow};
}

bool Sequence::is_worth_keeping() const {
  return state_->position() == prompt_tokens() ||
         std::binary_search(keep_at_.begin(), keep_at_.end(), state_->position());
}

void Sequence::report_prefill() {
  sink_->on_prefill(state_->position(), prompt_tokens(), usage_.cached_tokens);
}

bool Sequence::take_logits(std::span<const float> logits) {
  const SampledToken token =
      sampler_.sample(logits, static_cast<uint64_t>(sampled_.size()), request_.mask.get());
  if (request_.mask) request_.mask->accept(token.id);
  return deliver(token);
}

bool Sequence::deliver(const SampledToken& token) {
  if (!first_token_) first_token_ = Clock::now();
  sampled_.push_back(token.id);
  ++usage_.completion_tokens;
  if (std::ranges::find(request_.stop_tokens, token.id) != request_.stop_tokens.end()) {
    reason_ = StopReason::stop_token;
    return true;
  }
  if (!sink_->on_token(token)) {
    reason_ = StopReason::sink;
    return true;
  }
  if (usage_.completion_tokens >= request_.max_tokens) {
    reason_ = StopReason::length;
    return true;
  }
  return false;
}

cache::TokenList Sequence::all_tokens() const {
  if (sampled_.empty()) return prompt_;
  std::vector<int32_t> all = *prompt_;
  all.insert(all.end(), sampled_.begin(), sampled_.end());
  return std::make_shared<const std::vector<int32_t>>(std::move(all));
}

void Sequence::finish(StopReason reason, std::string error) noexcept {
  const Clock::time_point now = Clock::now();
  const Clock::time_point started = state_ ? started_ : now;
  const Clock::time_point first = first_token_.value_or(now);
  usage_.waiting_s = seconds(started - submitted_);
  usage_.prefill_s = seconds(first - started);
  usage_.decode_s = seconds(now - first);
  state_.reset();
  sink_->on_finish({reason, std::move(error), usage_});
}

}  // namespace lethe::engine
