#include "serve/api/chat_format.h"

#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/detokenizer.h"

namespace lethe::serve {

namespace {

constexpr const char* kFingerprint = "lethe-" LETHE_VERSION;
constexpr double kMinusInfinity = -9999.0;

double shown_logprob(float logprob) {
  return std::isfinite(logprob) ? double{logprob} : kMinusInfinity;
}

Json token_json(const Tokenizer& tokenizer, int32_t id, float logprob) {
  const std::string_view bytes = tokenizer.token_bytes(id);
  Utf8Stream text;
  Json byte_list = Json::array();
  for (const char byte : bytes) byte_list.push_back(static_cast<unsigned char>(byte));
  std::string shown = text.push(bytes);
  shown += text.finish();
  return {{"token", shown}, {"logprob", shown_logprob(logprob)}, {"bytes", byte_list}};
}

}  // namespace

std::string ChatFormat::call_id(size_t index) const {
  return fmt::format("call_{}_{}", id, index);
}

Json ChatFormat::chunk(Json delta, Json logprobs, const std::string& finish_reason) const {
  Json chunk = {{"id", id},
                {"object", "chat.completion.chunk"},
                {"created", created},
                {"model", model},
                {"system_fingerprint", kFingerprint}};
  chunk["choices"] = Json::array(
      {{{"index", 0},
        {"delta", std::move(delta)},
        {"logprobs", std::move(logprobs)},
        {"finish_reason", finish_reason.empty() ? Json(nullptr) : Json(finish_reason)}}});
  if (include_usage) chunk["usage"] = nullptr;
  return chunk;
}

Json ChatFormat::first_delta() const {
  if (!thinking) return {{"role", "assistant"}, {"content", ""}};
  return {{"role", "assistant"}, {"content", nullptr}, {"reasoning_content", ""}};
}

Json ChatFormat::delta(const StreamEvent& event) const {
  switch (event.kind) {
    case StreamEvent::Kind::reasoning:
      return {{"content", nullptr}, {"reasoning_content", event.text}};
    case StreamEvent::Kind::content:
      if (!thinking) return {{"content", event.text}};
      return {{"content", event.text}, {"reasoning_content", nullptr}};
    case StreamEvent::Kind::call_begin:
      return {{"tool_calls",
               {{{"index", event.call_index},
                 {"id", call_id(event.call_index)},
                 {"type", "function"},
                 {"function", {{"name", event.text}, {"arguments", ""}}}}}}};
    case StreamEvent::Kind::call_arguments:
      return {{"tool_calls",
               {{{"index", event.call_index}, {"function", {{"arguments", event.text}}}}}}};
    case StreamEvent::Kind::call_end:
      break;
  }
  return nullptr;
}

Json ChatFormat::last_delta() const {
  if (!thinking) return {{"content", ""}};
  return {{"content", ""}, {"reasoning_content", nullptr}};
}

std::vector<Json> ChatFormat::last_chunks(const ChatResult& result, Json logprobs) const {
  std::vector<Json> chunks = {chunk(last_delta(), std::move(logprobs), result.finish_reason)};
  if (usage_in_own_chunk && !include_usage) return chunks;
  if (usage_in_own_chunk) {
    chunks.push_back(chunk(nullptr));
    chunks.back()["choices"] = Json::array();
  }
  chunks.back()["usage"] = usage_json(result.usage);
  return chunks;
}

Json usage_json(const ChatUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_cache_hit_tokens", usage.cached_tokens},
          {"prompt_cache_miss_tokens", usage.prompt_tokens - usage.cached_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}}};
}

void LogprobsJson::add(const engine::SampledToken& token, bool is_reasoning) {
  Json entry = token_json(tokenizer_, token.id, token.logprob);
  Json top = Json::array();
  for (const engine::TokenLogprob& other : token.top) {
    top.push_back(token_json(tokenizer_, other.id, other.logprob));
  }
  entry["top_logprobs"] = std::move(top);
  (is_reasoning ? reasoning_ : content_).push_back(std::move(entry));
}

Json LogprobsJson::take() {
  if (content_.empty() && reasoning_.empty()) return nullptr;
  return {{"content", std::exchange(content_, Json::array())},
          {"reasoning_content", std::exchange(reasoning_, Json::array())}};
}

void ChatMessageBuilder::add(const std::vector<StreamEvent>& events) {
  for (const StreamEvent& event : events) {
    switch (event.kind) {
      case StreamEvent::Kind::reasoning:
        reasoning_ += event.text;
        break;
      case StreamEvent::Kind::content:
        content_ += event.text;
        break;
      case StreamEvent::Kind::call_begin:
        calls_.push_back({.name = event.text, .arguments = {}});
        break;
      case StreamEvent::Kind::call_arguments:
        calls_.back().arguments += event.text;
        break;
      case StreamEvent::Kind::call_end:
        calls_.back().complete = true;
        break;
    }
  }
}

Json ChatMessageBuilder::response(const ChatFormat& format, const ChatResult& result,
                                  Json logprobs) const {
  Json message = {{"role", "assistant"}, {"content", content_}};
  if (format.thinking) message["reasoning_content"] = reasoning_;
  Json calls = Json::array();
  const bool ended_by_model =
      result.finish_reason == "stop" || result.finish_reason == "tool_calls";
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (ended_by_model && !calls_[i].complete) continue;
    calls.push_back({{"id", format.call_id(i)},
                     {"type", "function"},
                     {"function", {{"name", calls_[i].name}, {"arguments", calls_[i].arguments}}}});
  }
  std::string finish_reason = result.finish_reason;
  if (finish_reason == "tool_calls" && calls.empty()) finish_reason = "stop";
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  Json response = {{"id", format.id},
                   {"object", "chat.completion"},
                   {"created", format.created},
                   {"model", format.model},
                   {"system_fingerprint", kFingerprint}};
  response["choices"] = Json::array({{{"index", 0},
                                      {"message", std::move(message)},
                                      {"logprobs", std::move(logprobs)},
                                      {"finish_reason", finish_reason}}});
  response["usage"] = usage_json(result.usage);
  return response;
}

}  // namespace lethe::serve
