#pragma once

#include <optional>
#include <string>

#include "text/chat_request.h"

namespace lethe::apps {

/// A conversation and its settings. Its request is what a client of the API would send: answers
/// with their reasoning, so that each prompt begins with the one before and the prefix cache
/// serves. One thread.
class ChatSession {
 public:
  /// `settings`: thinking, effort, stop strings, parameters; its messages begin the conversation.
  explicit ChatSession(ChatRequest settings) : request_(std::move(settings)) {}

  const ChatRequest& request() const noexcept { return request_; }
  bool empty() const noexcept;          ///< no message but the system message
  bool awaits_answer() const noexcept;  ///< the last message is the user's

  /// The system message at the beginning; empty: none.
  std::string system() const;
  void set_system(const std::string& text);
  void set_thinking(std::optional<bool> thinking, ReasoningEffort effort);

  void add_user(const std::string& text);
  void add_answer(const std::string& text, const std::string& reasoning);
  /// Takes back what follows the last user message. False: there is none.
  bool take_back_answer();
  /// Takes back the last user message and what follows it; its text.
  std::optional<std::string> take_back_exchange();
  /// Forgets every message but the system message.
  void clear();

 private:
  ChatRequest request_;
};

/// "off", "on", "low", "high", "max" or a number, as set_thinking() of sampling_options.h reads it.
std::string thinking_word(const ChatRequest& request);

}  // namespace lethe::apps
