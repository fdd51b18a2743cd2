#include "apps/answer_printer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

namespace lethe::apps {

namespace {

constexpr const char* kDim = "\x1b[2m";
constexpr const char* kPlain = "\x1b[0m";
constexpr std::chrono::milliseconds kInterruptPoll(50);

std::atomic<bool> interrupt_flag = false;
struct sigaction previous_action;

extern "C" void on_interrupt(int) {
  if (interrupt_flag.exchange(true)) {
    // Asked twice: end as if nobody had caught it.
    sigaction(SIGINT, &previous_action, nullptr);
    std::raise(SIGINT);
  }
}

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

AnswerPrinter::AnswerPrinter(const Options& options) : options_(options) {
  dims_ = ::isatty(options.thinking_to_stdout ? STDOUT_FILENO : STDERR_FILENO) == 1;
}

AnswerPrinter::~AnswerPrinter() = default;

void AnswerPrinter::on_prefill(int64_t done, int64_t total, int64_t cached) {
  if (!progress_) {
    progress_ = std::make_unique<Progress>("prompt", total - cached, "tokens");
    prefilled_ = cached;
  }
  progress_->advance(done - prefilled_);
  prefilled_ = done;
}

void AnswerPrinter::on_update(serve::ChatUpdate update) {
  progress_.reset();
  for (const StreamEvent& event : update.events) {
    if (event.kind == StreamEvent::Kind::reasoning) {
      reasoning_ += event.text;
      print_thinking(event.text);
    } else if (event.kind == StreamEvent::Kind::content) {
      answer_ += event.text;
      print_answer(event.text);
    }
  }
}

void AnswerPrinter::print_thinking(const std::string& text) {
  if (!options_.show_thinking) return;
  FILE* out = options_.thinking_to_stdout ? stdout : stderr;
  if (!is_thinking_ && dims_) std::fputs(kDim, out);
  is_thinking_ = true;
  std::fwrite(text.data(), 1, text.size(), out);
  std::fflush(out);
}

void AnswerPrinter::end_thinking() {
  if (!is_thinking_) return;
  is_thinking_ = false;
  FILE* out = options_.thinking_to_stdout ? stdout : stderr;
  fmt::print(out, "{}\n\n", dims_ ? kPlain : "");
  std::fflush(out);
}

void AnswerPrinter::print_answer(const std::string& text) {
  end_thinking();
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  line_open_ = !text.ends_with('\n');
}

void AnswerPrinter::on_result(const serve::ChatResult& result) noexcept {
  progress_.reset();
  end_thinking();
  if (line_open_) std::fputc('\n', stdout);
  std::fflush(stdout);
  std::lock_guard lock(mutex_);
  result_ = result;
  ended_.notify_all();
}

serve::ChatResult AnswerPrinter::wait(serve::ChatService& service, engine::RequestId id,
                                      const std::atomic<bool>& interrupted) {
  std::unique_lock lock(mutex_);
  bool cancelled = false;
  while (!result_) {
    ended_.wait_for(lock, kInterruptPoll);
    if (interrupted && !cancelled) {
      cancelled = true;
      service.cancel(id);
    }
  }
  return *result_;
}

std::string usage_text(const serve::ChatResult& result) {
  const serve::ChatUsage& usage = result.usage;
  const int64_t computed = usage.prompt_tokens - usage.cached_tokens;
  std::string text = fmt::format("prompt {} tokens", usage.prompt_tokens);
  if (usage.cached_tokens > 0) text += fmt::format(" ({} cached)", usage.cached_tokens);
  text += fmt::format(", {:.1f} tokens/s; answer {} tokens", per_second(computed, usage.prefill_s),
                      usage.completion_tokens);
  if (usage.reasoning_tokens > 0) text += fmt::format(" ({} thinking)", usage.reasoning_tokens);
  if (usage.completion_tokens > 1) {
    // The first token comes with the prompt.
    text +=
        fmt::format(", {:.1f} tokens/s", per_second(usage.completion_tokens - 1, usage.decode_s));
  }
  return text + "; " + (result.cancelled ? "stopped by you" : result.finish_reason);
}

InterruptGuard::InterruptGuard() {
  interrupt_flag = false;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_action);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_action, nullptr);
}

const std::atomic<bool>& InterruptGuard::flag() noexcept {
  return interrupt_flag;
}

}  // namespace lethe::apps
