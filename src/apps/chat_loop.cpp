#include "apps/chat_loop.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <utility>

#include "apps/answer_printer.h"
#include "apps/interrupt_guard.h"
#include "apps/text_file.h"
#include "base/error.h"

namespace lethe::apps {

namespace {

constexpr const char* kMakeRoom =
    "Make room with /undo (takes back the last exchange) or /clear (begins a new conversation).";

}  // namespace

ChatLoop::ChatLoop(serve::ChatService& service, LineReader& lines, ChatSession session,
                   const ChatLoopOptions& options)
    : service_(service),
      is_terminal_(lines.is_terminal()),
      reader_(lines),
      session_(std::move(session)),
      options_(options) {}

bool ChatLoop::run() {
  constexpr auto kSecond = InterruptGuard::Second::is_ignored;
  // At a terminal Ctrl-C never ends the program, not even one that comes when an answer has just
  // ended; a script that waits for its input ends as any program.
  std::optional<InterruptGuard> guard;
  if (is_terminal_) guard.emplace(kSecond);
  int interrupts = 0;
  while (!ends_) {
    MessageReader::Message message;
    const LineReader::Status status = reader_.read(message);
    if (status == LineReader::Status::end) break;
    if (status == LineReader::Status::interrupted) {
      if (++interrupts > 1) notice("Ctrl-D or /quit ends.");
      continue;
    }
    interrupts = 0;
    if (!is_terminal_) guard.emplace(kSecond);
    InterruptGuard::clear_flag();
    take(message);
    if (!is_terminal_) guard.reset();
  }
  return !failed_;
}

void ChatLoop::take(const MessageReader::Message& message) {
  try {
    dispatch(message);
  } catch (const engine::ContextLengthError& error) {
    failed_ = true;
    fmt::print(stderr, "lethe: {} {}{}\n", error.what(), kMakeRoom,
               files_.empty() ? "" : " /file off drops the files for this message.");
  } catch (const std::exception& error) {
    failed_ = true;
    fmt::print(stderr, "lethe: {}\n", error.what());
  }
}

void ChatLoop::notice(const std::string& text) const {
  if (!options_.quiet) fmt::print(stderr, "{}\n", text);
}

void ChatLoop::dispatch(const MessageReader::Message& message) {
  const std::string& text = message.text;
  if (text.find_first_not_of(" \t\n") == std::string::npos) return;
  if (message.is_block || !text.starts_with('/')) {
    say(text);
  } else if (text.starts_with("//")) {
    say(text.substr(1));
  } else {
    run_command(text);
  }
}

void ChatLoop::say(const std::string& text) {
  check_utf8(text, "the message");
  ChatSession next = session_;
  next.add_user(with_attachments(files_, text));
  unanswered_ = text;
  if (!answer(std::move(next))) return;
  unanswered_.reset();
  files_.clear();
}

/// Has the last message of `next` answered. Without an answer the conversation stays what it was.
bool ChatLoop::answer(ChatSession next) {
  std::swap(session_, next);
  bool is_answered = false;
  try {
    is_answered = take_answer();
  } catch (...) {
    session_ = std::move(next);
    throw;
  }
  if (!is_answered) session_ = std::move(next);
  return is_answered;
}

bool ChatLoop::take_answer() {
  serve::PreparedRequest prepared = service_.prepare(session_.request());
  const auto printer = std::make_shared<AnswerPrinter>(
      AnswerPrinter::Options{.show_thinking = !options_.hide_thinking,
                             .thinking_to_stdout = ::isatty(STDOUT_FILENO) == 1});
  const engine::RequestId id = service_.start(std::move(prepared), printer);
  const serve::ChatResult result = printer->wait(service_, id, InterruptGuard::flag());
  count(result);
  const bool is_answered = !printer->answer().empty();
  if (is_answered) {
    session_.add_answer(printer->answer(), printer->reasoning());
    tell_end(result);
  } else {
    notice(fmt::format("No answer ({}). Your message is taken back; /retry says it again.",
                       result.cancelled                   ? "stopped before it began"
                       : result.finish_reason == "length" ? "the limit of tokens came first"
                                                          : "the model ended its turn at once"));
  }
  if (!result.error.empty()) throw Error("the answer is not complete: {}", result.error);
  return is_answered;
}

void ChatLoop::count(const serve::ChatResult& result) {
  last_ = result;
  ++totals_.answers;
  totals_.prompt_tokens += result.usage.prompt_tokens;
  totals_.cached_tokens += result.usage.cached_tokens;
  totals_.completion_tokens += result.usage.completion_tokens;
}

void ChatLoop::tell_end(const serve::ChatResult& result) const {
  if (result.cancelled) {
    notice("Stopped. The conversation keeps what was said; /retry answers anew.");
  } else if (result.finish_reason == "length") {
    notice("The limit of tokens was reached (--max-tokens, or the context).");
  }
}

}  // namespace lethe::apps
