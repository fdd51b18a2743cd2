#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "serve/chat_listener.h"
#include "serve/chat_service.h"

namespace lethe::apps {

/// Prints an answer while it comes, and keeps it: the answer on stdout, thinking dimmed (a terminal
/// without colours: marked with a word), progress on stderr while the prompt is read. On a terminal
/// control characters of the text are shown as U+FFFD, so that no answer can command it.
class AnswerPrinter : public serve::ChatListener {
 public:
  struct Options {
    bool show_thinking = true;
    bool thinking_to_stdout = false;  ///< else to stderr
  };
  explicit AnswerPrinter(const Options& options);
  ~AnswerPrinter() override;

  void on_prefill(int64_t done, int64_t total, int64_t cached) override;
  void on_update(serve::ChatUpdate update) override;
  void on_result(const serve::ChatResult& result) noexcept override;

  /// Waits for the end. When `interrupted` becomes true, cancels the request first. Throws IoError
  /// (after the end) if stdout did not take the answer.
  serve::ChatResult wait(serve::ChatService& service, engine::RequestId id,
                         const std::atomic<bool>& interrupted);

  // After wait():
  const std::string& answer() const noexcept { return answer_; }
  const std::string& reasoning() const noexcept { return reasoning_; }

 private:
  void print_thinking(const std::string& text);
  void print_answer(const std::string& text);
  void end_thinking();
  FILE* thinking_file() const { return options_.thinking_to_stdout ? stdout : stderr; }
  void write_answer(std::string_view text);

  Options options_;
  bool dims_ = false;
  bool thinks_on_terminal_ = false;
  bool answers_on_terminal_ = false;
  bool is_thinking_ = false;
  bool line_open_ = false;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::unique_ptr<Progress> progress_;
  int64_t prefilled_ = 0;
  std::string answer_;
  std::string reasoning_;
  std::atomic<int> write_error_ = 0;  ///< errno

  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<serve::ChatResult> result_;
};

/// "prompt 310 tokens (256 cached), 120.5 tokens/s; answer 45 tokens, 11.2 tokens/s; stop".
std::string usage_text(const serve::ChatResult& result);

/// UTF-8 as a terminal may get it: control characters other than tab and newline are U+FFFD.
std::string terminal_text(std::string_view text);

}  // namespace lethe::apps
