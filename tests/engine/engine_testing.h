#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/request.h"

namespace lethe::testing {

/// Collects what a request gives; wait() returns when it has ended. Any thread.
class CollectingSink : public engine::RequestSink {
 public:
  void on_prefill(int64_t done, int64_t total, int64_t cached) override {
    std::lock_guard lock(mutex_);
    prefill_.push_back(done);
    prompt_ = total;
    cached_ = cached;
  }
  bool on_token(const engine::SampledToken& token) override {
    std::lock_guard lock(mutex_);
    tokens_.push_back(token.id);
    return !stop_when || !stop_when(tokens_);
  }
  void on_finish(const engine::Outcome& outcome) noexcept override {
    std::lock_guard lock(mutex_);
    ++num_ends_;
    outcome_ = outcome;
    ended_.notify_all();
  }

  engine::Outcome wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [&] { return outcome_.has_value(); });
    return *outcome_;
  }
  std::vector<int32_t> tokens() const {
    std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::vector<int64_t> prefill() const {
    std::lock_guard lock(mutex_);
    return prefill_;
  }
  bool ended() const {
    std::lock_guard lock(mutex_);
    return outcome_.has_value();
  }
  int num_ends() const {
    std::lock_guard lock(mutex_);
    return num_ends_;
  }

  std::function<bool(const std::vector<int32_t>&)> stop_when;  ///< set before the request starts

 private:
  mutable std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<int32_t> tokens_;
  std::vector<int64_t> prefill_;
  int64_t prompt_ = 0;
  int64_t cached_ = 0;
  int num_ends_ = 0;
  std::optional<engine::Outcome> outcome_;
};

/// A greedy request.
inline engine::Request greedy_request(std::vector<int32_t> prompt, int64_t max_tokens) {
  engine::Request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  return request;
}

}  // namespace lethe::testing
