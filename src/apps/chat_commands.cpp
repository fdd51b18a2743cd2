#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "apps/answer_printer.h"
#include "apps/chat_loop.h"
#include "apps/sampling_options.h"
#include "apps/saved_chat.h"
#include "apps/text_file.h"
#include "apps/units.h"
#include "base/error.h"

namespace lethe::apps {

namespace {

constexpr size_t kExcerptBytes = 60;

/// The beginning of a text, on one line.
std::string excerpt(const std::string& text) {
  std::string out = terminal_text(text.substr(0, text.find('\n')));
  bool is_cut = out.size() < text.size();
  if (out.size() > kExcerptBytes) {
    size_t end = kExcerptBytes;
    while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
    out.resize(end);
    is_cut = true;
  }
  return is_cut ? out + " ..." : out;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

}  // namespace

const std::vector<ChatLoop::Command>& ChatLoop::commands() {
  static const std::vector<Command> all = {
      {"/help", "", "this list", &ChatLoop::help},
      {"/system", "[TEXT|off]", "show, set or remove the system message", &ChatLoop::change_system},
      {"/think", "[off|on|low|high|max|N]", "show or set how hard to think",
       &ChatLoop::change_thinking},
      {"/file", "[PATH|off]", "add a text file to the next message; list or drop those added",
       &ChatLoop::add_file},
      {"/save", "[FILE]", "write the conversation to a file (default: the last one)",
       &ChatLoop::save},
      {"/load", "FILE", "go on with a saved conversation", &ChatLoop::load},
      {"/stats", "", "tokens, speed, memory", &ChatLoop::show_stats},
      {"/retry", "", "answer the last message again", &ChatLoop::retry},
      {"/undo", "", "take back the last message and its answer", &ChatLoop::undo},
      {"/clear", "", "a new conversation, with the same system message", &ChatLoop::clear},
      {"/quit", "", "end (also Ctrl-D)", &ChatLoop::quit},
  };
  return all;
}

void ChatLoop::run_command(const std::string& line) {
  const size_t end = line.find_first_of(" \t\n");
  const std::string name = line.substr(0, end);
  const std::string argument = end == std::string::npos ? "" : trimmed(line.substr(end));
  const auto found = std::ranges::find(commands(), name, &Command::name);
  if (found == commands().end()) {
    std::string names;
    for (const Command& command : commands()) names += fmt::format(" {}", command.name);
    throw UsageError("no command {}. There are{}. A message that begins with / is typed with //.",
                     terminal_text(name), names);
  }
  if (found->argument.empty() && !argument.empty()) {
    throw UsageError("{} takes no argument", name);
  }
  (this->*found->run)(argument);
}

void ChatLoop::help(const std::string&) {
  for (const Command& command : commands()) {
    fmt::print(stderr, "  {:<32}{}\n", fmt::format("{} {}", command.name, command.argument),
               command.help);
  }
  fmt::print(stderr,
             "A line that ends in \\ goes on in the next one; a line of \"\"\" begins and ends a "
             "message of\nseveral lines, as does a paste. // begins a message that starts with /. "
             "Ctrl-C stops an answer.\n");
}

/// Whether a prompt with these settings can be written for this model. Throws what prepare() does.
void ChatLoop::check_settings(const ChatSession& session) const {
  ChatSession trial = session;
  trial.clear();
  trial.add_user("a");
  service_.prepare(trial.request());
}

void ChatLoop::change_system(const std::string& text) {
  if (text.empty()) {
    const std::string now = session_.system();
    fmt::print(stderr, "{}\n", now.empty() ? "no system message" : terminal_text(now));
    return;
  }
  check_utf8(text, "the system message");
  ChatSession next = session_;
  next.set_system(text == "off" ? "" : text);
  check_settings(next);
  session_ = std::move(next);
  notice(fmt::format("System message {}.{}", text == "off" ? "removed" : "set",
                     session_.empty() ? ""
                                      : " It counts from the beginning of this conversation, which "
                                        "is read anew with your next message."));
}

void ChatLoop::change_thinking(const std::string& word) {
  if (!word.empty()) {
    ChatRequest wanted;
    set_thinking(wanted, word);
    ChatSession next = session_;
    next.set_thinking(wanted.thinking, wanted.effort);
    check_settings(next);
    session_ = std::move(next);
  }
  const std::string shown = fmt::format("thinking: {}", thinking_word(session_.request()));
  if (word.empty()) {
    fmt::print(stderr, "{}\n", shown);
  } else {
    notice(shown);
  }
}

void ChatLoop::attach(const std::string& path) {
  Attachment file = load_attachment(path);
  const size_t tokens = service_.model().tokenizer().encode(file.text).size();
  notice(fmt::format("{}: {} tokens, {}; goes with the next message", terminal_text(file.name),
                     tokens, bytes_text(static_cast<int64_t>(file.text.size()))));
  files_.push_back(std::move(file));
}

void ChatLoop::add_file(const std::string& path) {
  if (path == "off") files_.clear();
  if (!path.empty() && path != "off") {
    attach(path);
    return;
  }
  if (files_.empty()) fmt::print(stderr, "no files wait for the next message\n");
  for (const Attachment& file : files_) fmt::print(stderr, "{}\n", terminal_text(file.name));
}

void ChatLoop::save(const std::string& path) {
  const std::string& place = path.empty() ? file_ : path;
  if (place.empty()) throw UsageError("/save FILE: name a file");
  if (session_.empty()) throw UsageError("/save: nothing has been said yet");
  save_chat(place, session_.request(), service_.model().id(), service_.model().profile());
  notice(fmt::format("saved: {} ({} messages)", place, session_.request().messages.size()));
  file_ = place;
}

void ChatLoop::load(const std::string& path) {
  if (path.empty()) throw UsageError("/load FILE: name a saved conversation");
  ChatRequest saved = load_chat(path, service_.model().profile());
  saved.parameters = merged_parameters(saved.parameters, session_.request().parameters);
  if (saved.stop.empty()) saved.stop = session_.request().stop;
  if (!service_.model().can_think()) saved.thinking = false;
  ChatSession next(std::move(saved));
  service_.prepare(next.request());  // does it fit this model?
  session_ = std::move(next);
  unanswered_.reset();
  file_ = path;
  notice(fmt::format("loaded: {} ({} messages), thinking: {}", path,
                     session_.request().messages.size(), thinking_word(session_.request())));
  if (session_.awaits_answer()) notice("Its last message has no answer: /retry gives one.");
}

void ChatLoop::show_stats(const std::string&) {
  if (last_) {
    fmt::print(stderr, "last answer   {}\n", usage_text(*last_));
    fmt::print(stderr, "context       {} of {} tokens\n",
               last_->usage.prompt_tokens + last_->usage.completion_tokens,
               service_.model().context_length());
  }
  const engine::EngineStats stats = service_.stats();
  fmt::print(
      stderr,
      "answers       {}: {} tokens of prompts ({} cached), {} tokens generated\n"
      "memory        {} of cached conversations, {} at most (--memory); weights not counted\n",
      totals_.answers, totals_.prompt_tokens, totals_.cached_tokens, totals_.completion_tokens,
      bytes_text(stats.cache_bytes), bytes_text(stats.memory_bytes));
}

void ChatLoop::clear(const std::string&) {
  session_.clear();
  files_.clear();
  unanswered_.reset();
  last_.reset();
  notice("A new conversation.");
}

void ChatLoop::retry(const std::string&) {
  if (unanswered_) {
    say(std::string(*unanswered_));
    return;
  }
  ChatSession next = session_;
  if (!next.take_back_answer()) throw UsageError("/retry: nothing has been said yet");
  answer(std::move(next));
}

void ChatLoop::undo(const std::string&) {
  const std::optional<std::string> text = session_.take_back_exchange();
  if (!text) throw UsageError("/undo: nothing has been said yet");
  unanswered_.reset();
  notice(fmt::format("taken back: {}", excerpt(*text)));
}

void ChatLoop::quit(const std::string&) {
  ends_ = true;
}

}  // namespace lethe::apps
