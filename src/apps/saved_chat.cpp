#include "apps/saved_chat.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/text_file.h"
#include "base/file_writer.h"

namespace lethe::apps {

namespace {

const char* role_name(RequestRole role) {
  switch (role) {
    case RequestRole::system:
      return "system";
    case RequestRole::assistant:
      return "assistant";
    default:
      return "user";
  }
}

Json message_json(const RequestMessage& message) {
  Json out = Json::object();
  out["role"] = role_name(message.role);
  if (!message.reasoning.empty()) out["reasoning_content"] = message.reasoning;
  out["content"] = message.content.text();
  return out;
}

void add_settings(Json& out, const ChatRequest& request) {
  const RequestParameters& p = request.parameters;
  out["thinking"]["type"] = request.thinking.value_or(true) ? "enabled" : "disabled";
  if (const auto* word = std::get_if<std::string>(&request.effort)) {
    out["reasoning_effort"] = *word;
  } else if (const auto* number = std::get_if<int64_t>(&request.effort)) {
    out["reasoning_effort"] = *number;
  }
  const auto add = [&out](const char* key, const auto& value) {
    if (value) out[key] = *value;
  };
  add("max_tokens", p.max_tokens);
  add("temperature", p.temperature);
  add("top_p", p.top_p);
  add("top_k", p.top_k);
  add("min_p", p.min_p);
  add("seed", p.seed);
  if (!request.stop.empty()) out["stop"] = request.stop;
  for (const auto& [id, bias] : p.logit_bias) {
    out["logit_bias"][std::to_string(id)] = static_cast<double>(bias);
  }
  if (p.ignore_eos) out["ignore_eos"] = true;
}

void check_message(const RequestMessage& message, size_t index) {
  const bool is_known = message.role == RequestRole::system || message.role == RequestRole::user ||
                        message.role == RequestRole::assistant;
  if (!is_known || !message.tool_calls.empty()) {
    throw UsageError("messages[{}]: tools and reminders are for programs, chat cannot go on there",
                     index);
  }
  if (!message.has_content) throw UsageError("messages[{}].content: is missing", index);
  if (message.is_prefix) throw UsageError("messages[{}]: chat cannot continue a prefix", index);
}

bool is_conversation(const std::string& path, const PromptProfile& profile) {
  try {
    load_chat(path, profile);
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::string saved_chat_json(const ChatRequest& request, const std::string& model) {
  Json out = Json::object();
  out["model"] = model;
  out["messages"] = Json::array();
  for (const RequestMessage& message : request.messages) {
    out["messages"].push_back(message_json(message));
  }
  add_settings(out, request);
  return out.dump(1) + "\n";
}

ChatRequest parse_saved_chat(const std::string& json, const PromptProfile& profile) {
  ChatRequest request = parse_chat_request(parse_json(json), profile);
  if (request.messages.empty()) throw UsageError("messages: is empty");
  if (!request.tools.empty()) throw UsageError("tools: are for programs, chat cannot run them");
  if (!request.images.empty()) throw UsageError("messages: hold images, chat reads text only");
  if (request.json_mode) throw UsageError("response_format: JSON mode is for programs");
  for (size_t i = 0; i < request.messages.size(); ++i) check_message(request.messages[i], i);
  // What concerns the delivery to a program has no meaning here.
  RequestParameters& p = request.parameters;
  p.logprobs = p.stream = p.include_usage = false;
  p.top_logprobs = 0;
  p.user_id.clear();
  return request;
}

void save_chat(const std::string& path, const ChatRequest& request, const std::string& model,
               const PromptProfile& profile) {
  const std::string place = expanded_path(path);
  const std::string json = saved_chat_json(request, model);
  try {
    parse_saved_chat(json, profile);
  } catch (const Error& error) {
    throw UsageError("{}: not saved, since it could not be loaded again: {}", place, error.what());
  }
  if (std::filesystem::exists(place) && !is_conversation(place, profile)) {
    throw UsageError(
        "{}: exists and is no saved conversation, so it is left alone: choose another "
        "name",
        place);
  }
  FileWriter writer(place);
  writer.write(json);
  writer.commit();
}

ChatRequest load_chat(const std::string& path, const PromptProfile& profile) {
  const std::string text = read_text_file(path);
  try {
    return parse_saved_chat(text, profile);
  } catch (const Error& error) {
    throw UsageError("{}: no conversation that can be loaded: {}", expanded_path(path),
                     error.what());
  }
}

RequestParameters merged_parameters(RequestParameters first, const RequestParameters& second) {
  const auto fill = [](auto& value, const auto& other) {
    if (!value) value = other;
  };
  fill(first.max_tokens, second.max_tokens);
  fill(first.temperature, second.temperature);
  fill(first.top_p, second.top_p);
  fill(first.top_k, second.top_k);
  fill(first.min_p, second.min_p);
  fill(first.seed, second.seed);
  if (first.logit_bias.empty()) first.logit_bias = second.logit_bias;
  first.ignore_eos = first.ignore_eos || second.ignore_eos;
  return first;
}

}  // namespace lethe::apps
