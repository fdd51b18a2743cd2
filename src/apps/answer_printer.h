#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/progress.h"
#include "serve/chat_listener.h"
#include "serve/chat_service.h"

namespace lethe::apps {

/// Prints an answer while it comes, and keeps it. Thinking goes to stderr, dimmed on a terminal;
/// the answer to stdout.
class AnswerPrinter : public serve::ChatListener {
 public:
  struct Options {
    bool show_thinking = true;
    bool thinking_to_stdout = false;  ///< chat: both belong to one conversation on the screen
  };
  explicit AnswerPrinter(const Options& options);
  ~AnswerPrinter() override;

  void on_prefill(int64_t done, int64_t total, int64_t cached) override;
  void on_update(serve::ChatUpdate update) override;
  void on_result(const serve::ChatResult& result) noexcept override;

  /// Waits for the end. When `interrupted` becomes true, cancels the request first.
  serve::ChatResult wait(serve::ChatService& service, engine::RequestId id,
                         const std::atomic<bool>& interrupted);

  // After wait():
  const std::string& answer() const noexcept { return answer_; }
  const std::string& reasoning() const noexcept { return reasoning_; }

 private:
  void print_thinking(const std::string& text);
  void print_answer(const std::string& text);
  void end_thinking();

  Options options_;
  bool dims_ = false;
  bool is_thinking_ = false;
  bool line_open_ = false;
  std::unique_ptr<Progress> progress_;
  int64_t prefilled_ = 0;
  std::string answer_;
  std::string reasoning_;

  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<serve::ChatResult> result_;
};

/// "prompt 310 tokens (256 cached), 120.5 tokens/s; answer 45 tokens, 11.2 tokens/s; stop".
std::string usage_text(const serve::ChatResult& result);

/// While it lives, the first Ctrl-C sets the flag instead of ending the program; a second one ends
/// it. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  static const std::atomic<bool>& flag() noexcept;
};

}  // namespace lethe::apps
