#include "apps/chat_session.h"

#include <algorithm>

namespace lethe::apps {

namespace {

bool is_system(const RequestMessage& message) {
  return message.role == RequestRole::system;
}

RequestMessage text_message(RequestRole role, const std::string& text) {
  RequestMessage message;
  message.role = role;
  message.content = Prompt::client(text);
  return message;
}

}  // namespace

bool ChatSession::empty() const noexcept {
  return std::ranges::all_of(request_.messages, is_system);
}

bool ChatSession::awaits_answer() const noexcept {
  return !request_.messages.empty() && request_.messages.back().role == RequestRole::user;
}

std::string ChatSession::system() const {
  const auto& messages = request_.messages;
  return !messages.empty() && is_system(messages.front()) ? messages.front().content.text() : "";
}

void ChatSession::set_system(const std::string& text) {
  auto& messages = request_.messages;
  if (!messages.empty() && is_system(messages.front())) messages.erase(messages.begin());
  if (!text.empty()) messages.insert(messages.begin(), text_message(RequestRole::system, text));
}

void ChatSession::set_thinking(std::optional<bool> thinking, ReasoningEffort effort) {
  request_.thinking = thinking;
  request_.effort = std::move(effort);
}

void ChatSession::add_user(const std::string& text) {
  request_.messages.push_back(text_message(RequestRole::user, text));
}

void ChatSession::add_answer(const std::string& text, const std::string& reasoning) {
  request_.messages.push_back(text_message(RequestRole::assistant, text));
  request_.messages.back().reasoning = reasoning;
}

bool ChatSession::take_back_answer() {
  auto& messages = request_.messages;
  const auto last = std::find_if(messages.rbegin(), messages.rend(), [](const auto& message) {
    return message.role == RequestRole::user;
  });
  if (last == messages.rend()) return false;
  messages.erase(last.base(), messages.end());
  return true;
}

std::optional<std::string> ChatSession::take_back_exchange() {
  if (!take_back_answer()) return std::nullopt;
  std::string text = request_.messages.back().content.text();
  request_.messages.pop_back();
  return text;
}

void ChatSession::clear() {
  const std::string text = system();
  request_.messages.clear();
  set_system(text);
}

std::string thinking_word(const ChatRequest& request) {
  if (!request.thinking.value_or(true)) return "off";
  if (const auto* number = std::get_if<int64_t>(&request.effort)) return std::to_string(*number);
  const auto* word = std::get_if<std::string>(&request.effort);
  return word == nullptr ? "on" : *word;
}

}  // namespace lethe::apps
