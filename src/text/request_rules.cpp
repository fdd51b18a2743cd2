#include "text/request_rules.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "text/prompt_texts.h"

namespace lethe {
namespace {

using Messages = std::vector<RequestMessage>;

[[noreturn]] void refuse(const std::string& what) {
  throw RequestError(400, what);
}

/// The level that a client's word stands for.
std::string effort_level(const std::string& name, bool thinking_is_asked) {
  if (name == "minimal" || name == "low") return "low";
  if (name == "medium" || name == "high" || name == "xhigh") return "high";
  if (name == "max" || name == "ultra") return "max";
  if (name == "none" && thinking_is_asked) return "high";
  refuse(
      fmt::format("reasoning_effort: '{}' is unknown; it is none, minimal, low, medium, high, "
                  "xhigh or max",
                  name));
}

ReasoningEffort resolve_effort(const ChatRequest& request, const PromptProfile& profile) {
  if (const auto* number = std::get_if<int64_t>(&request.effort)) {
    if (!profile.is_v41 || *number < 1 || *number > 100) {
      refuse(
          fmt::format("reasoning_effort: {} is out of range; {}", *number,
                      profile.is_v41 ? "numbers go from 1 to 100" : "this model takes no number"));
    }
    return *number;
  }
  std::string level = "high";
  if (const auto* name = std::get_if<std::string>(&request.effort)) {
    level = effort_level(*name, request.thinking.value_or(false));
  }
  // The preview has no text for `low`, and none for `high` either.
  if (&profile == &kPromptV4Preview && level == "low") level = "high";
  return level;
}

bool is_none(const ReasoningEffort& effort) {
  const auto* name = std::get_if<std::string>(&effort);
  return name != nullptr && *name == "none";
}

std::vector<RequestTool> chosen_tools(const ChatRequest& request) {
  if (request.tool_choice == ToolChoice::none) return {};
  if (request.tool_choice != ToolChoice::named) return request.tools;
  const auto chosen = std::ranges::find(request.tools, request.chosen_tool, &RequestTool::name);
  if (chosen == request.tools.end()) {
    refuse(fmt::format("tool_choice: no tool is called '{}'", request.chosen_tool));
  }
  return {*chosen};
}

std::string place(size_t index) {
  return fmt::format("messages[{}]", index);
}

/// Messages from `begin` on that are tool results.
size_t count_results(const Messages& messages, size_t begin) {
  size_t end = begin;
  while (end < messages.size() && messages[end].role == RequestRole::tool) ++end;
  return end - begin;
}

std::unordered_set<std::string> unique_ids(const RequestMessage& message, size_t index) {
  std::unordered_set<std::string> ids;
  for (const ToolCall& call : message.tool_calls) {
    if (!ids.insert(call.id).second) {
      refuse(fmt::format("{}.tool_calls: the id '{}' stands twice", place(index), call.id));
    }
  }
  return ids;
}

/// The calls at `index` must be answered once each by the `num_results` messages that follow.
void check_results(const Messages& messages, size_t index, size_t num_results) {
  std::unordered_set<std::string> open = unique_ids(messages[index], index);
  for (size_t i = index + 1; i <= index + num_results; ++i) {
    if (open.erase(messages[i].tool_call_id) == 0) {
      refuse(fmt::format("{}.tool_call_id: '{}' answers no open call of {}", place(i),
                         messages[i].tool_call_id, place(index)));
    }
  }
  if (!open.empty()) {
    refuse(
        fmt::format("{}: the call '{}' has no tool message directly after it; an assistant "
                    "message with tool_calls must be followed by one for each",
                    place(index), *open.begin()));
  }
}

void check_pairing(const Messages& messages) {
  for (size_t i = 0; i < messages.size();) {
    const size_t num_results = count_results(messages, i + 1);
    if (messages[i].role == RequestRole::tool ||
        (num_results > 0 && messages[i].tool_calls.empty())) {
      refuse(fmt::format("{}: a tool message must follow an assistant message with tool_calls",
                         place(messages[i].role == RequestRole::tool ? i : i + 1)));
    }
    check_results(messages, i, num_results);
    i += 1 + num_results;
  }
}

/// Gives every call exactly one result, in the order of the calls; results of nobody become user
/// text.
Messages mended_pairing(const Messages& messages) {
  Messages out;
  for (size_t i = 0; i < messages.size();) {
    out.push_back(messages[i]);
    if (out.back().role == RequestRole::tool) out.back().role = RequestRole::user;
    const size_t num_results = count_results(messages, i + 1);
    const std::span<const RequestMessage> results(messages.data() + i + 1, num_results);
    std::unordered_map<std::string, const RequestMessage*> answer_of;
    for (const RequestMessage& result : results)
      answer_of.try_emplace(result.tool_call_id, &result);
    std::unordered_set<const RequestMessage*> used;
    for (const ToolCall& call : messages[i].tool_calls) {
      const auto answer = answer_of.find(call.id);
      const bool is_free = answer != answer_of.end() && used.insert(answer->second).second;
      if (is_free) {
        out.push_back(*answer->second);
      } else {
        out.emplace_back().role = RequestRole::tool;
        out.back().tool_call_id = call.id;
      }
    }
    for (const RequestMessage& result : results) {
      if (used.contains(&result)) continue;
      out.push_back(result);
      out.back().role = RequestRole::user;
    }
    i += 1 + num_results;
  }
  return out;
}

bool mentions_json(const Messages& messages) {
  const auto same_letter = [](char a, char b) { return (a | 0x20) == b; };
  static constexpr std::string_view kWord = "json";
  return std::ranges::any_of(messages, [&](const RequestMessage& message) {
    const std::string text = message.content.text();
    return std::search(text.begin(), text.end(), kWord.begin(), kWord.end(), same_letter) !=
           text.end();
  });
}

void check_each(const Messages& messages) {
  if (messages.empty()) refuse("messages: is empty");
  for (size_t i = 0; i < messages.size(); ++i) {
    const RequestMessage& message = messages[i];
    const bool is_assistant = message.role == RequestRole::assistant;
    if (is_assistant && !message.has_content && message.tool_calls.empty() && !message.is_prefix) {
      refuse(place(i) + ": an assistant message needs content or tool_calls");
    }
    if (message.is_prefix && (!is_assistant || i + 1 != messages.size())) {
      refuse(place(i) + ".prefix: only the last message, an assistant's, can be continued");
    }
  }
}

void merge_into(Prompt& head, const Prompt& tail) {
  head.add_client(prompt_texts::kBlankLine);
  head.append(tail);
}

/// Step 5. What is merged keeps the first message's place.
Messages merged_messages(Messages messages, const PromptProfile& profile) {
  Messages out;
  bool only_system = true;
  for (RequestMessage& message : messages) {
    if (message.role == RequestRole::system && message.content.empty()) continue;
    const bool is_system = message.role == RequestRole::system;
    if (is_system && !profile.is_v41 && !only_system) message.role = RequestRole::user;
    const bool merges_system = is_system && !profile.is_v41 && only_system;
    const bool merges = merges_system || message.role == RequestRole::user;
    if (merges && !out.empty() && out.back().role == message.role) {
      merge_into(out.back().content, message.content);
    } else {
      out.push_back(std::move(message));
    }
    only_system = only_system && is_system;
  }
  return out;
}

/// Step 6, for one run of user and tool messages.
void sort_results(std::span<RequestMessage> run, const std::vector<ToolCall>& calls) {
  std::unordered_map<std::string_view, size_t> order;
  for (size_t i = 0; i < calls.size(); ++i) order.try_emplace(calls[i].id, i);
  Messages results;
  for (const RequestMessage& message : run) {
    if (message.role == RequestRole::tool) results.push_back(message);
  }
  std::ranges::stable_sort(results, {}, [&](const RequestMessage& result) {
    const auto found = order.find(result.tool_call_id);
    return found == order.end() ? size_t{0} : found->second;
  });
  auto next = results.begin();
  for (RequestMessage& message : run) {
    if (message.role == RequestRole::tool) message = std::move(*next++);
  }
}

bool is_user_side(const RequestMessage& message) {
  return message.role == RequestRole::user || message.role == RequestRole::tool;
}

}  // namespace

RequestMode resolve_mode(const ChatRequest& request, const PromptProfile& profile) {
  RequestMode mode;
  mode.thinking = request.thinking.value_or(!is_none(request.effort));
  if (mode.thinking) {
    mode.effort = resolve_effort(request, profile);
  } else if (!is_none(request.effort)) {
    resolve_effort(request, profile);  // a word that nobody knows is refused all the same
  }
  mode.tools = chosen_tools(request);
  mode.forces_call = !mode.tools.empty() && (request.tool_choice == ToolChoice::required ||
                                             request.tool_choice == ToolChoice::named);
  if (mode.forces_call && mode.thinking) refuse("Thinking mode does not support this tool_choice");
  return mode;
}

std::vector<RequestMessage> checked_messages(const ChatRequest& request) {
  check_each(request.messages);
  if (request.json_mode && !mentions_json(request.messages)) {
    refuse("response_format: json_object needs the word \"json\" in some message");
  }
  if (request.lenient_pairing) return mended_pairing(request.messages);
  check_pairing(request.messages);
  return request.messages;
}

std::vector<RequestMessage> normalised_messages(std::vector<RequestMessage> messages,
                                                const PromptProfile& profile) {
  Messages out = merged_messages(std::move(messages), profile);
  const std::vector<ToolCall>* calls = nullptr;
  for (size_t i = 0; i < out.size();) {
    if (!out[i].tool_calls.empty()) calls = &out[i].tool_calls;
    const size_t begin = i;
    while (i < out.size() && is_user_side(out[i])) ++i;
    if (i == begin) {
      ++i;
    } else if (calls != nullptr) {
      sort_results(std::span(out).subspan(begin, i - begin), *calls);
    }
  }
  return out;
}

}  // namespace lethe
