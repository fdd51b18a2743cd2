#include "text/request_renderer.h"

#include "text/prompt_texts.h"
#include "text/request_rules.h"

namespace lethe {
namespace {

using namespace prompt_texts;

/// Level B writes exactly these keys of a tool.
Json tool_schema(const RequestTool& tool) {
  Json schema = Json::object();
  schema["name"] = tool.name;
  schema["description"] = tool.description;
  schema["parameters"] = tool.parameters;
  return schema;
}

class RequestRenderer {
 public:
  RequestRenderer(const ChatRequest& request, const PromptProfile& profile)
      : profile_(profile),
        mode_(resolve_mode(request, profile)),
        json_mode_(request.json_mode),
        messages_(normalised_messages(checked_messages(request), profile)) {
    out_.thinking = mode_.thinking;
    out_.parser.parse_tools = !mode_.tools.empty();
    out_.parser.json_mode = request.json_mode;
    out_.parser.stop = request.stop;
    out_.parser.repair = request.repair;
    for (const RequestTool& tool : mode_.tools) {
      out_.parser.tools.emplace_back(tool.name, tool.parameters);
    }
  }

  RenderedRequest render() {
    add_sections();
    prompt().add_template(kBos);
    for (size_t i = 0; i < messages_.size(); ++i) {
      if (i == 0) render_prefix(messages_[0]);
      render_message(i);
    }
    if (messages_.empty() || !messages_.back().is_prefix) render_header();
    return std::move(out_);
  }

 private:
  Prompt& prompt() { return out_.prompt; }

  /// Tools and the response format stand in the first system message.
  void add_sections() {
    if (mode_.tools.empty() && !json_mode_) return;
    if (messages_.empty() || messages_.front().role != RequestRole::system) {
      messages_.emplace(messages_.begin())->role = RequestRole::system;
    }
    Prompt& system = messages_.front().content;
    if (!mode_.tools.empty()) {
      std::vector<Json> schemas;
      for (const RequestTool& tool : mode_.tools) schemas.push_back(tool_schema(tool));
      append_tools_section(system, profile_, schemas);
    }
    if (json_mode_) append_response_format(system, Json{{"type", "json_object"}});
  }

  void render_prefix(const RequestMessage& first) {
    const std::string effort = mode_.thinking ? effort_prefix(profile_, mode_.effort) : "";
    if (profile_.is_v41 && (!effort.empty() || first.role == RequestRole::system)) {
      prompt().add_template(kSystem);
    }
    prompt().add_template(effort);
  }

  void render_message(size_t index) {
    const RequestMessage& message = messages_[index];
    switch (message.role) {
      case RequestRole::system:
        if (profile_.is_v41 && index > 0) prompt().add_template(kSystem);
        prompt().append(message.content);
        break;
      case RequestRole::latest_reminder:
        prompt().add_template(kLatestReminder);
        prompt().append(message.content);
        break;
      case RequestRole::user:
      case RequestRole::tool:
        render_user_side(index);
        break;
      case RequestRole::assistant:
        render_assistant(message, index);
        break;
    }
  }

  /// A run of user and tool messages is one turn.
  void render_user_side(size_t index) {
    const RequestMessage& message = messages_[index];
    const auto before = index == 0 ? RequestRole::assistant : messages_[index - 1].role;
    if (before == RequestRole::user || before == RequestRole::tool) {
      prompt().add_client(kBlankLine);
    } else {
      prompt().add_template(kUser);
    }
    const bool is_result = message.role == RequestRole::tool;
    if (is_result) prompt().add_client(kToolResultBegin);
    prompt().append(message.content);
    if (is_result) prompt().add_client(kToolResultEnd);
  }

  void render_assistant(const RequestMessage& message, size_t index) {
    const bool shows_thinking = mode_.thinking && index > 0;
    prompt().add_template(kAssistant);
    if (shows_thinking) {
      prompt().add_template(kThinkBegin);
      prompt().add_client(message.reasoning);
    }
    if (message.is_prefix) {
      continue_from(message, shows_thinking);
      return;
    }
    prompt().add_template(kThinkEnd);
    prompt().append(message.content);
    append_tool_calls(prompt(), profile_, message.tool_calls,
                      profile_.is_v41 ? ArgumentsRule::unwrap : ArgumentsRule::lenient);
    prompt().add_template(kEos);
  }

  /// The last turn stays open: in its reasoning if it has no content yet, else in its content.
  void continue_from(const RequestMessage& message, bool shows_thinking) {
    if (mode_.forces_call) {
      throw RequestError(400, "tool_choice: a forced call cannot begin inside a prefix message");
    }
    const bool in_reasoning = shows_thinking && message.content.empty();
    if (!in_reasoning) prompt().add_template(kThinkEnd);
    prompt().append(message.content);
    out_.parser.start = in_reasoning ? StreamStart::reasoning : StreamStart::answer;
    out_.parser.continues_text =
        in_reasoning ? !message.reasoning.empty() : !message.content.empty();
  }

  void render_header() {
    prompt().add_template(kAssistant);
    prompt().add_template(mode_.thinking ? kThinkBegin : kThinkEnd);
    out_.parser.start = mode_.thinking ? StreamStart::reasoning : StreamStart::answer;
    if (!mode_.forces_call) return;
    prompt().add_template(fmt::format("\n\n<{}{}>\n", kDsml, profile_.block_tag));
    out_.parser.start = StreamStart::tool_block;
  }

  const PromptProfile& profile_;
  RequestMode mode_;
  bool json_mode_;
  std::vector<RequestMessage> messages_;
  RenderedRequest out_;
};

}  // namespace

RenderedRequest render_request(const ChatRequest& request, const PromptProfile& profile) {
  return RequestRenderer(request, profile).render();
}

}  // namespace lethe
