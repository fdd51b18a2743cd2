#include "text/prompt_encoder.h"

#include <algorithm>
#include <span>
#include <unordered_map>

#include "text/prompt_texts.h"

namespace lethe {
namespace {

using namespace prompt_texts;

using MessageList = std::vector<ChatMessage>;

/// The token of a quick-instruction task. Throws for an unknown one.
std::string_view task_token(const std::string& task) {
  static constexpr std::pair<std::string_view, std::string_view> kTasks[] = {
      {"action", "<｜action｜>"}, {"query", "<｜query｜>"}, {"authority", "<｜authority｜>"},
      {"domain", "<｜domain｜>"}, {"title", "<｜title｜>"}, {"read_url", "<｜read_url｜>"}};
  for (const auto& [name, token] : kTasks) {
    if (name == task) return token;
  }
  throw PromptError("task '{}': known are action, query, authority, domain, title and read_url",
                    task);
}

MessageList parse_messages(const Json& messages, const PromptProfile& profile,
                           std::vector<Json>& images) {
  if (!messages.is_array()) throw PromptError("messages: must be a list");
  MessageList out;
  for (const Json& message : messages) {
    out.push_back(parse_chat_message(message, profile, images));
  }
  return out;
}

/// Step 2: tool results and user texts become blocks of user messages.
MessageList merge_tool_messages(MessageList messages, const PromptProfile& profile) {
  MessageList merged;
  const auto open_user = [&]() { return !merged.empty() && merged.back().role == "user"; };
  for (ChatMessage& message : messages) {
    if (message.role == "tool") {
      if (!open_user()) {
        merged.emplace_back().role = "user";
        merged.back().blocks.emplace();
      }
      merged.back().blocks->push_back({true, message.tool_call_id, std::move(message.content)});
    } else if (message.role == "user") {
      if (!message.blocks) message.blocks = {ContentBlock{false, {}, message.content}};
      if (open_user() && !merged.back().task) {
        std::ranges::move(*message.blocks, std::back_inserter(*merged.back().blocks));
      } else {
        // V4's encoder makes a new message here and takes no tools along.
        if (!profile.is_v41) message.tools.clear();
        merged.push_back(std::move(message));
      }
    } else {
      merged.push_back(std::move(message));
    }
  }
  return merged;
}

using CallOrder = std::unordered_map<std::string, size_t>;

void sort_results(std::vector<ContentBlock>& blocks, const CallOrder& order) {
  std::vector<ContentBlock> results;
  for (const ContentBlock& block : blocks) {
    if (block.is_tool_result) results.push_back(block);
  }
  const auto place = [&](const ContentBlock& result) {
    const auto found = order.find(result.tool_call_id);
    return found == order.end() ? size_t{0} : found->second;
  };
  std::ranges::stable_sort(results, {}, place);
  auto next = results.begin();
  for (ContentBlock& block : blocks) {
    if (block.is_tool_result) block = std::move(*next++);
  }
}

/// Step 3: results stand in the order of the most recent assistant's calls.
void sort_tool_results(MessageList& messages) {
  CallOrder order;
  for (ChatMessage& message : messages) {
    if (message.role == "assistant" && !message.tool_calls.empty()) {
      order.clear();
      for (size_t i = 0; i < message.tool_calls.size(); ++i) {
        if (const std::string& id = message.tool_calls[i].id; !id.empty()) order[id] = i;
      }
    } else if (message.role == "user" && message.blocks && !order.empty()) {
      sort_results(*message.blocks, order);
    }
  }
}

bool opens_turn(const ChatMessage& message, size_t index, const PromptProfile& profile) {
  if (message.role == "user") return true;
  return profile.is_v41 ? message.role == "system" && index > 0 : message.role == "developer";
}

/// Index of the last message that asks for an answer; -1 without one.
int64_t last_user_index(std::span<const ChatMessage> messages, const PromptProfile& profile) {
  for (size_t i = messages.size(); i > 0; --i) {
    if (opens_turn(messages[i - 1], i - 1, profile)) return static_cast<int64_t>(i) - 1;
  }
  return -1;
}

/// Step 4: old reasoning goes, and so do old messages of roles that are not part of the talk.
MessageList drop_old_thinking(std::span<const ChatMessage> messages, const PromptProfile& profile) {
  static constexpr std::string_view kKept[] = {"user", "system", "latest_reminder",
                                               "direct_search_results"};
  const int64_t last_user = last_user_index(messages, profile);
  MessageList out;
  for (size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    const bool is_old = static_cast<int64_t>(i) < last_user;
    if (!is_old || std::ranges::find(kKept, message.role) != std::end(kKept)) {
      out.push_back(message);
    } else if (message.role == "assistant") {
      out.push_back(message);
      out.back().reasoning.clear();
    }
  }
  return out;
}

/// Writes the messages of one list (section 3.3).
class Renderer {
 public:
  Renderer(const PromptProfile& profile, const MessageList& messages, bool thinking, bool drop,
           const std::string& effort_prefix, Prompt& out)
      : profile_(profile),
        messages_(messages),
        thinking_(thinking),
        drop_(drop),
        effort_prefix_(effort_prefix),
        last_user_(last_user_index(messages, profile)),
        out_(out) {}

  void render(size_t index) {
    const ChatMessage& message = messages_[index];
    render_prefix(message, index);
    render_body(message, index);
    render_transition(message, index);
  }

 private:
  void render_prefix(const ChatMessage& message, size_t index) {
    if (index > 0) return;
    if (profile_.is_v41 && (!effort_prefix_.empty() || message.role == "system")) {
      out_.add_template(kSystem);
    }
    out_.add_template(effort_prefix_);
  }

  void render_body(const ChatMessage& message, size_t index) {
    if (message.role == "system") {
      if (profile_.is_v41 && index > 0) out_.add_template(kSystem);
      render_instructions(message);
    } else if (message.role == "developer" && !profile_.is_v41) {
      if (message.content.empty()) throw PromptError("messages: a developer message is empty");
      out_.add_template(kUser);
      render_instructions(message);
    } else if (message.role == "user") {
      render_user(message);
    } else if (message.role == "latest_reminder") {
      out_.add_template(kLatestReminder);
      out_.append(message.content);
    } else if (message.role == "assistant") {
      render_assistant(message, index);
    } else {
      throw PromptError("messages: the {} prompt format has no role '{}'", profile_.name,
                        message.role);
    }
  }

  void render_instructions(const ChatMessage& message) {
    out_.append(message.content);
    if (!message.tools.empty()) append_tools_section(out_, profile_, message.tools);
    if (!message.response_format.is_null()) append_response_format(out_, message.response_format);
  }

  void render_user(const ChatMessage& message) {
    out_.add_template(kUser);
    if (message.blocks->empty()) out_.append(message.content);
    bool first = true;
    for (const ContentBlock& block : *message.blocks) {
      if (!first) out_.add_client(kBlankLine);
      first = false;
      if (block.is_tool_result) out_.add_client(kToolResultBegin);
      out_.append(block.content);
      if (block.is_tool_result) out_.add_client(kToolResultEnd);
    }
  }

  void render_assistant(const ChatMessage& message, size_t index) {
    const bool answers_task = index > 0 && messages_[index - 1].task.has_value();
    if (thinking_ && !answers_task && shows_thinking(index, /*after=*/1)) {
      out_.add_client(message.reasoning);
      out_.add_template(kThinkEnd);
    }
    out_.append(message.content);
    append_tool_calls(out_, profile_, message.tool_calls,
                      profile_.is_v41 ? ArgumentsRule::unwrap : ArgumentsRule::v4_encoder);
    if (!message.without_eos) out_.add_template(kEos);
  }

  /// Whether the turn at `index` still shows its reasoning.
  bool shows_thinking(size_t index, int64_t after) const {
    return !drop_ || static_cast<int64_t>(index) >= last_user_ + after;
  }

  /// The header of the answer, or a task's token, where an answer comes next.
  void render_transition(const ChatMessage& message, size_t index) {
    if (index + 1 < messages_.size()) {
      const std::string& next = messages_[index + 1].role;
      if (next != "assistant" && next != "latest_reminder") return;
    }
    if (message.task) {
      const std::string_view token = task_token(*message.task);
      if (*message.task == "action") render_header(thinking_);
      out_.add_template(token);
    } else if (opens_turn(message, index, profile_)) {
      render_header(thinking_ && shows_thinking(index, /*after=*/0));
    }
  }

  void render_header(bool think) {
    out_.add_template(kAssistant);
    out_.add_template(think ? kThinkBegin : kThinkEnd);
  }

  const PromptProfile& profile_;
  const MessageList& messages_;
  bool thinking_;
  bool drop_;
  const std::string& effort_prefix_;
  int64_t last_user_;
  Prompt& out_;
};

bool bool_option(const Json& options, const char* key, bool absent) {
  const auto found = options.find(key);
  if (found == options.end() || found->is_null()) return absent;
  if (!found->is_boolean()) throw PromptError("options: '{}' must be true or false", key);
  return found->get<bool>();
}

}  // namespace

EncodedMessages encode_messages(const PromptProfile& profile, const Json& messages,
                                const EncodeOptions& options) {
  if (options.thinking_mode != "chat" && options.thinking_mode != "thinking") {
    throw PromptError("thinking_mode '{}': it is chat or thinking", options.thinking_mode);
  }
  const bool thinking = options.thinking_mode == "thinking";
  std::string effort = effort_prefix(profile, options.reasoning_effort);
  if (!thinking) effort.clear();

  EncodedMessages encoded;
  std::vector<Json> earlier_images;
  const MessageList context =
      merge_tool_messages(parse_messages(options.context, profile, earlier_images), profile);
  MessageList all = context;
  std::ranges::move(merge_tool_messages(parse_messages(messages, profile, encoded.images), profile),
                    std::back_inserter(all));
  sort_tool_results(all);

  const auto has_tools = [](const ChatMessage& message) { return !message.tools.empty(); };
  const bool drop = options.drop_thinking && std::ranges::none_of(all, has_tools);
  size_t first = context.size();
  if (thinking && drop) {
    all = drop_old_thinking(all, profile);
    // As the encoders count it: what the context alone would keep, not what it keeps here.
    first = drop_old_thinking(context, profile).size();
  }

  if (options.add_default_bos_token && context.empty()) encoded.prompt.add_template(kBos);
  Renderer renderer(profile, all, thinking, drop, effort, encoded.prompt);
  for (size_t i = first; i < all.size(); ++i) renderer.render(i);
  return encoded;
}

EncodeOptions parse_encode_options(const Json& options) {
  if (!options.is_object()) throw PromptError("options: must be an object");
  EncodeOptions out;
  if (const auto mode = options.find("thinking_mode"); mode != options.end()) {
    if (!mode->is_string()) throw PromptError("options: 'thinking_mode' must be a string");
    out.thinking_mode = mode->get_ref<const std::string&>();
  }
  out.drop_thinking = bool_option(options, "drop_thinking", true);
  out.add_default_bos_token = bool_option(options, "add_default_bos_token", true);
  if (const auto effort = options.find("reasoning_effort");
      effort != options.end() && !effort->is_null()) {
    if (effort->is_string()) {
      out.reasoning_effort = effort->get<std::string>();
    } else if (effort->is_number_integer()) {
      out.reasoning_effort = effort->get<int64_t>();
    } else {
      throw PromptError("options: 'reasoning_effort' must be a level's name or an integer");
    }
  }
  if (const auto context = options.find("context"); context != options.end()) {
    if (!context->is_null()) out.context = *context;
  }
  return out;
}

}  // namespace lethe
