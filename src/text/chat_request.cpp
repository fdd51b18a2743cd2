#include "text/chat_request.h"

#include <algorithm>
#include <cctype>
#include <unordered_set>

#include "text/prompt_texts.h"

namespace lethe {
namespace {

constexpr size_t kToolsMax = 128;
constexpr size_t kToolNameMax = 128;
constexpr size_t kStopsMax = 16;

/// Reads one request; remembers where it is for messages.
class RequestReader {
 public:
  RequestReader(const Json& body, const PromptProfile& profile) : body_(body), profile_(profile) {}

  ChatRequest read() {
    request_object(body_, "request body");
    read_messages();
    read_tools();
    read_tool_choice();
    read_thinking();
    read_response_format();
    read_stop();
    request_.parameters = parse_request_parameters(body_);
    return std::move(request_);
  }

 private:
  void read_messages() {
    const Json& messages = request_member(body_, "messages");
    if (messages.is_null()) refuse_request("messages", "is missing");
    if (!messages.is_array()) refuse_request("messages", "must be a list", 422);
    for (size_t i = 0; i < messages.size(); ++i) {
      const std::string where = fmt::format("messages[{}]", i);
      request_.messages.push_back(message(request_object(messages[i], where), where));
    }
  }

  RequestMessage message(const Json& given, const std::string& where) {
    RequestMessage out;
    out.role = role(request_string(request_member(given, "role"), where + ".role"), where);
    const Json& text = request_member(given, "content");
    const bool is_assistant = out.role == RequestRole::assistant;
    out.has_content = !text.is_null();
    if (out.has_content) {
      out.content = content(text, out.role, where + ".content");
    } else if (!is_assistant) {
      refuse_request(where + ".content", "is missing");
    }
    out.is_prefix = optional_bool(given, "prefix", where);
    if (is_assistant) {
      out.reasoning = reasoning(given, where);
      read_calls(given, out, where);
    }
    if (out.role == RequestRole::tool) {
      out.tool_call_id = optional_string(given, "tool_call_id", where);
      if (out.tool_call_id.empty()) refuse_request(where + ".tool_call_id", "is missing");
    }
    return out;
  }

  static RequestRole role(const std::string& name, const std::string& where) {
    if (name == "system" || name == "developer") return RequestRole::system;
    if (name == "user") return RequestRole::user;
    if (name == "assistant") return RequestRole::assistant;
    if (name == "tool") return RequestRole::tool;
    if (name == "latest_reminder") return RequestRole::latest_reminder;
    refuse_request(
        where + ".role",
        fmt::format("'{}' is no role; known are system, developer, user, assistant, tool and "
                    "latest_reminder",
                    name));
  }

  Prompt content(const Json& given, RequestRole role, const std::string& where) {
    if (given.is_string()) return Prompt::client(given.get_ref<const std::string&>());
    if (!given.is_array()) refuse_request(where, "must be a string or a list of parts", 422);
    Prompt out;
    for (size_t i = 0; i < given.size(); ++i) {
      const std::string part_where = fmt::format("{}[{}]", where, i);
      if (i > 0) out.add_client(prompt_texts::kBlankLine);
      add_part(out, request_object(given[i], part_where), role, part_where);
    }
    return out;
  }

  void add_part(Prompt& out, const Json& part, RequestRole role, const std::string& where) {
    const std::string type = request_string(request_member(part, "type"), where + ".type");
    if (type == "text") {
      out.add_client(request_string(request_member(part, "text"), where + ".text"));
      return;
    }
    if (type != "image_url") {
      refuse_request(where, fmt::format("parts of type '{}' are not supported; send text{}", type,
                                        profile_.is_v41 ? " or image_url" : ""));
    }
    if (!profile_.is_v41) refuse_request(where, "this model reads text only; leave the image out");
    if (role != RequestRole::user && role != RequestRole::tool) {
      refuse_request(where, "images belong in user and tool messages");
    }
    const Json& image = request_member(part, "image_url");
    const Json& url = image.is_object() ? request_member(image, "url") : image;
    if (!url.is_string() || url.get_ref<const std::string&>().empty()) {
      refuse_request(where + ".image_url", "has no url");
    }
    request_.images.push_back(part);
    out.add_template(prompt_texts::kImage);
  }

  /// The reasoning of an earlier turn, under the names that clients use for it.
  static std::string reasoning(const Json& given, const std::string& where) {
    for (const char* key : {"reasoning_content", "reasoning"}) {
      const Json& value = request_member(given, key);
      if (value.is_string()) return value.get<std::string>();
      if (!value.is_null()) refuse_request(where + "." + key, "must be a string", 422);
    }
    const Json& blocks = request_member(given, "thinking_blocks");
    if (blocks.is_null()) return {};
    if (!blocks.is_array()) refuse_request(where + ".thinking_blocks", "must be a list", 422);
    std::string out;
    for (const Json& block : blocks) {
      request_object(block, where + ".thinking_blocks");
      if (!out.empty()) out += prompt_texts::kBlankLine;
      out += optional_string(block, "thinking", where + ".thinking_blocks");
    }
    return out;
  }

  void read_calls(const Json& given, RequestMessage& out, const std::string& where) {
    const Json& calls = request_member(given, "tool_calls");
    if (calls.is_null()) return;
    if (!calls.is_array()) refuse_request(where + ".tool_calls", "must be a list", 422);
    if (calls.empty()) refuse_request(where + ".tool_calls", "is empty; leave the key out");
    for (size_t i = 0; i < calls.size(); ++i) {
      const std::string call_where = fmt::format("{}.tool_calls[{}]", where, i);
      out.tool_calls.push_back(call(request_object(calls[i], call_where), call_where));
    }
  }

  ToolCall call(const Json& given, const std::string& where) const {
    const Json& function = request_object(request_member(given, "function"), where + ".function");
    ToolCall out;
    out.id = optional_string(given, "id", where);
    if (out.id.empty()) refuse_request(where + ".id", "is missing");
    out.name = tool_name(given, function, where + ".function");
    out.arguments = request_member(function, "arguments");
    if (!out.arguments.is_string() && !out.arguments.is_object()) {
      refuse_request(where + ".function.arguments", "must be a string of JSON", 422);
    }
    return out;
  }

  std::string tool_name(const Json& item, const Json& function, const std::string& where) const {
    const std::string name = request_string(request_member(function, "name"), where + ".name");
    if (!profile_.is_v41) return name;
    try {
      return qualified_tool_name(name, request_member(item, "namespace"));
    } catch (const PromptError& error) {
      refuse_request(where + ".name", error.what());
    }
  }

  void read_tools() {
    const Json& tools = request_member(body_, "tools");
    if (tools.is_null()) return;
    if (!tools.is_array()) refuse_request("tools", "must be a list", 422);
    if (tools.size() > kToolsMax)
      refuse_request("tools", fmt::format("more than {} tools", kToolsMax));
    std::unordered_set<std::string> names;
    for (size_t i = 0; i < tools.size(); ++i) {
      const std::string where = fmt::format("tools[{}]", i);
      RequestTool tool = read_tool(request_object(tools[i], where), where);
      if (!names.insert(tool.name).second) {
        refuse_request(where + ".function.name", fmt::format("'{}' stands twice", tool.name));
      }
      request_.tools.push_back(std::move(tool));
    }
  }

  RequestTool read_tool(const Json& given, const std::string& where) const {
    if (const std::string type = optional_string(given, "type", where);
        !type.empty() && type != "function") {
      refuse_request(where + ".type",
                     fmt::format("'{}' is not supported; tools are functions", type));
    }
    const std::string function_where = where + ".function";
    const Json& function = request_object(request_member(given, "function"), function_where);
    RequestTool out;
    out.name = tool_name(given, function, function_where);
    check_tool_name(out.name, function_where + ".name");
    out.description = optional_string(function, "description", function_where);
    if (const Json& parameters = request_member(function, "parameters"); !parameters.is_null()) {
      out.parameters = request_object(parameters, function_where + ".parameters");
    }
    out.strict = optional_bool(function, "strict", function_where);
    return out;
  }

  void check_tool_name(std::string_view name, const std::string& where) const {
    std::string plain(name);
    if (const size_t colons = plain.find("::"); profile_.is_v41 && colons != std::string::npos) {
      plain.replace(colons, 2, "__");
    }
    const auto is_allowed = [](unsigned char c) {
      return c < 0x80 && (std::isalnum(c) != 0 || c == '_' || c == '-');
    };
    if (plain.empty() || plain.size() > kToolNameMax || !std::ranges::all_of(plain, is_allowed)) {
      refuse_request(where,
                     fmt::format("'{}' is no tool name: 1 to {} letters, digits, '_' and '-'", name,
                                 kToolNameMax));
    }
  }

  void read_tool_choice() {
    const Json& choice = request_member(body_, "tool_choice");
    if (choice.is_null()) return;
    if (choice.is_object()) {
      const Json& function = request_member(choice, "function");
      request_.tool_choice = ToolChoice::named;
      request_.chosen_tool =
          request_string(request_member(request_object(function, "tool_choice.function"), "name"),
                         "tool_choice.function.name");
      return;
    }
    const std::string name = request_string(choice, "tool_choice");
    if (name == "none") {
      request_.tool_choice = ToolChoice::none;
    } else if (name == "required") {
      request_.tool_choice = ToolChoice::required;
    } else if (name != "auto") {
      refuse_request("tool_choice",
                     fmt::format("'{}': it is none, auto, required or a function", name));
    }
  }

  void read_thinking() {
    const Json& extra = request_member(body_, "chat_template_kwargs");
    if (const Json& thinking = request_member(body_, "thinking"); !thinking.is_null()) {
      const std::string type = request_string(
          request_member(request_object(thinking, "thinking"), "type"), "thinking.type");
      if (type != "enabled" && type != "disabled" && type != "adaptive") {
        refuse_request("thinking.type",
                       fmt::format("'{}': it is enabled, disabled or adaptive", type));
      }
      request_.thinking = type != "disabled";
    } else if (extra.is_object()) {
      for (const char* key : {"thinking", "enable_thinking"}) {
        if (extra.contains(key)) {
          request_.thinking = optional_bool(extra, key, "chat_template_kwargs");
        }
      }
    }
    if (!request_.thinking) set_thinking_by_model();
    read_effort(request_member(body_, "reasoning_effort"));
    if (std::holds_alternative<std::monostate>(request_.effort) && extra.is_object()) {
      read_effort(request_member(extra, "reasoning_effort"));
    }
  }

  /// Two retired names stand for a mode.
  void set_thinking_by_model() {
    const Json& model = request_member(body_, "model");
    if (!model.is_string()) return;
    std::string name = model.get<std::string>();
    if (name.ends_with("[1m]")) name.resize(name.size() - 4);
    if (name == "deepseek-chat") request_.thinking = false;
    if (name == "deepseek-reasoner") request_.thinking = true;
  }

  void read_effort(const Json& effort) {
    if (effort.is_null()) return;
    if (effort.is_number_integer()) {
      request_.effort = effort.get<int64_t>();
    } else {
      request_.effort = request_string(effort, "reasoning_effort");
    }
  }

  void read_response_format() {
    const Json& format = request_member(body_, "response_format");
    if (format.is_null()) return;
    const std::string type = request_string(
        request_member(request_object(format, "response_format"), "type"), "response_format.type");
    if (type != "text" && type != "json_object" && type != "json_schema") {
      refuse_request("response_format.type",
                     fmt::format("'{}': it is text, json_object or json_schema", type));
    }
    request_.json_mode = type == "json_object";
  }

  void read_stop() {
    const Json& stop = request_member(body_, "stop");
    if (stop.is_null()) return;
    if (stop.is_string()) {
      request_.stop.push_back(stop.get<std::string>());
      return;
    }
    if (!stop.is_array()) refuse_request("stop", "must be a string or a list of strings", 422);
    if (stop.size() > kStopsMax)
      refuse_request("stop", fmt::format("more than {} strings", kStopsMax));
    for (const Json& text : stop) request_.stop.push_back(request_string(text, "stop"));
  }

  const Json& body_;
  const PromptProfile& profile_;
  ChatRequest request_;
};

}  // namespace

ChatRequest parse_chat_request(const Json& body, const PromptProfile& profile) {
  return RequestReader(body, profile).read();
}

}  // namespace lethe
