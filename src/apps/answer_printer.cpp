#include "apps/answer_printer.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/utf8.h"

namespace lethe::apps {

namespace {

constexpr const char* kDim = "\x1b[2m";
constexpr const char* kPlain = "\x1b[0m";
constexpr const char* kEraseLine = "\r\x1b[K";
constexpr std::chrono::milliseconds kInterruptPoll(50);

/// https://no-color.org
bool wants_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return no_colour == nullptr || *no_colour == '\0';
}

double per_second(int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

std::string terminal_text(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F: the same controls once more.
    const bool is_c1 =
        byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (is_c1) ++i;
    if (is_c1 || byte == 0x7F || (byte < 0x20 && byte != '\n' && byte != '\t')) {
      append_utf8(out, kReplacementCharacter);
    } else {
      out += text[i];
    }
  }
  return out;
}

AnswerPrinter::AnswerPrinter(const Options& options) : options_(options) {
  answers_on_terminal_ = ::isatty(STDOUT_FILENO) == 1;
  thinks_on_terminal_ = ::isatty(::fileno(thinking_file())) == 1;
  dims_ = thinks_on_terminal_ && wants_colour();
}

AnswerPrinter::~AnswerPrinter() = default;

void AnswerPrinter::on_prefill(int64_t done, int64_t total, int64_t cached) {
  if (!progress_) {
    progress_ = std::make_unique<Progress>("prompt", total - cached, "tokens", start_);
    prefilled_ = cached;
  }
  progress_->advance(done - prefilled_);
  prefilled_ = done;
}

void AnswerPrinter::on_update(serve::ChatUpdate update) {
  if (progress_) progress_->erase();
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
  FILE* out = thinking_file();
  if (!is_thinking_) {
    if (dims_) std::fputs(kDim, out);
    if (!options_.show_thinking && thinks_on_terminal_) std::fputs("thinking ...", out);
    if (options_.show_thinking && thinks_on_terminal_ && !dims_) std::fputs("thinking: ", out);
    is_thinking_ = true;
  }
  if (options_.show_thinking) {
    const std::string shown = thinks_on_terminal_ ? terminal_text(text) : text;
    std::fwrite(shown.data(), 1, shown.size(), out);
  }
  std::fflush(out);
}

void AnswerPrinter::end_thinking() {
  if (!is_thinking_) return;
  is_thinking_ = false;
  FILE* out = thinking_file();
  if (dims_) std::fputs(kPlain, out);
  if (options_.show_thinking) {
    std::fputs("\n\n", out);
  } else if (thinks_on_terminal_) {
    std::fputs(kEraseLine, out);
  }
  std::fflush(out);
}

void AnswerPrinter::print_answer(const std::string& text) {
  end_thinking();
  write_answer(answers_on_terminal_ ? terminal_text(text) : text);
  line_open_ = !text.ends_with('\n');
}

void AnswerPrinter::write_answer(std::string_view text) {
  const bool good =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!good && write_error_ == 0) write_error_ = errno;
}

void AnswerPrinter::on_result(const serve::ChatResult& result) noexcept {
  if (progress_) progress_->erase();
  progress_.reset();
  end_thinking();
  if (line_open_) write_answer("\n");
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
    if ((interrupted || write_error_ != 0) && !cancelled) {
      cancelled = true;
      service.cancel(id);
    }
  }
  if (write_error_ != 0) {
    throw IoError("the answer could not be written to stdout: {}", std::strerror(write_error_));
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

}  // namespace lethe::apps
