#include "text/tool_call.h"

#include <optional>

#include "base/printable.h"
#include "text/prompt_texts.h"

namespace lethe {
namespace {

using prompt_texts::kBlankLine;
using prompt_texts::kDsml;

/// The JSON value of a text, or nothing where Python's json.loads would refuse it.
std::optional<Json> try_parse(const std::string& text) {
  try {
    return parse_json(text);
  } catch (const JsonError&) {
    return std::nullopt;
  }
}

Json one_argument(const Json& value) {
  Json object = Json::object();
  object["arguments"] = value;
  return object;
}

/// The parameters to write: an object, in the order of its keys.
Json argument_object(const ToolCall& call, ArgumentsRule rule) {
  if (!call.arguments.is_string()) {
    const bool as_given = call.arguments.is_object() && rule != ArgumentsRule::v4_encoder;
    return as_given ? call.arguments : one_argument(call.arguments);
  }
  std::optional<Json> parsed = try_parse(call.arguments.get_ref<const std::string&>());
  if (!parsed) return one_argument(call.arguments);
  if (rule == ArgumentsRule::unwrap && parsed->is_string()) {
    if (auto inner = try_parse(parsed->get_ref<const std::string&>())) parsed = std::move(inner);
  }
  if (parsed->is_object()) return *std::move(parsed);
  if (rule == ArgumentsRule::v4_encoder) {
    throw PromptError("tool call '{}': its arguments are JSON but not an object: {}", call.name,
                      printable(call.arguments.get_ref<const std::string&>()));
  }
  return one_argument(call.arguments);
}

/// Only the DSML token itself is template: the ordinary text around it stays in one run with the
/// names and values it encloses, as the model wrote it.
class MarkupWriter {
 public:
  MarkupWriter(Prompt& prompt, const PromptProfile& profile) : prompt_(prompt), profile_(profile) {}

  void write(const std::vector<ToolCall>& calls, ArgumentsRule rule) {
    text(kBlankLine);
    open(profile_.block_tag);
    text(">\n");
    for (size_t i = 0; i < calls.size(); ++i) {
      if (i > 0) text("\n");
      write_call(calls[i], argument_object(calls[i], rule));
    }
    text("\n");
    close(profile_.block_tag);
  }

 private:
  void text(std::string_view ordinary) { prompt_.add_client(ordinary); }

  void open(std::string_view tag) {
    text("<");
    prompt_.add_template(kDsml);
    text(tag);
  }

  void close(std::string_view tag) {
    text("</");
    prompt_.add_template(kDsml);
    text(tag);
    text(">");
  }

  void write_call(const ToolCall& call, const Json& arguments) {
    open(profile_.invoke_tag);
    text(" name=\"");
    text(call.name);
    text("\">\n");
    bool first = true;
    for (const auto& [key, value] : arguments.items()) {
      if (!first) text("\n");
      first = false;
      write_parameter(key, value);
    }
    text("\n");
    close(profile_.invoke_tag);
  }

  void write_parameter(const std::string& key, const Json& value) {
    open(profile_.parameter_tag);
    text(" name=\"");
    text(key);
    text(value.is_string() ? "\" string=\"true\">" : "\" string=\"false\">");
    text(value.is_string() ? value.get<std::string>() : dump_json(value));
    close(profile_.parameter_tag);
  }

  Prompt& prompt_;
  const PromptProfile& profile_;
};

/// `pattern` with {0}, {1} and {2} replaced by the profile's tags. Its other braces are text.
std::string with_tags(std::string_view pattern, const PromptProfile& profile) {
  const std::string_view tags[] = {profile.block_tag, profile.invoke_tag, profile.parameter_tag};
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool is_tag = pattern[i] == '{' && i + 2 < pattern.size() && pattern[i + 2] == '}';
    if (!is_tag) {
      out += pattern[i];
      continue;
    }
    out += tags[pattern[i + 1] - '0'];
    i += 2;
  }
  return out;
}

}  // namespace

std::string qualified_tool_name(std::string_view name, const Json& tool_namespace) {
  const Json& given = tool_namespace.is_object() && tool_namespace.contains("name")
                          ? tool_namespace["name"]
                          : tool_namespace;
  if (!given.is_null() && !given.is_string()) {
    throw PromptError("tool '{}': its namespace must be a string or an object with a name", name);
  }
  std::optional<std::string> space;
  if (given.is_string()) space = given.get<std::string>();
  std::string_view bare = name;
  if (const size_t colons = name.find("::"); colons != std::string_view::npos) {
    const std::string_view own = name.substr(0, colons);
    if (space && *space != own) {
      throw PromptError("tool '{}': its namespace is given as '{}' beside the name", name, *space);
    }
    space = std::string(own);
    bare = name.substr(colons + 2);
  }
  if (bare.find("::") != std::string_view::npos ||
      (space && space->find("::") != std::string::npos)) {
    throw PromptError("tool '{}': a name has at most one namespace", name);
  }
  return space ? *space + "::" + std::string(bare) : std::string(bare);
}

void append_tools_section(Prompt& prompt, const PromptProfile& profile,
                          const std::vector<Json>& schemas) {
  // The blank lines go with the text before them: a tokenizer may join them to its last character.
  prompt.add_client(kBlankLine);
  prompt.add_template(with_tags(prompt_texts::kToolsBegin, profile));
  for (size_t i = 0; i < schemas.size(); ++i) {
    if (i > 0) prompt.add_client("\n");
    prompt.add_client(dump_json(schemas[i]));
  }
  prompt.add_client(kBlankLine);
  prompt.add_template(prompt_texts::kToolsEnd);
}

void append_response_format(Prompt& prompt, const Json& schema) {
  prompt.add_client(kBlankLine);
  prompt.add_template(prompt_texts::kResponseFormat);
  prompt.add_client(dump_json(schema));
}

void append_tool_calls(Prompt& prompt, const PromptProfile& profile,
                       const std::vector<ToolCall>& calls, ArgumentsRule rule) {
  if (!calls.empty()) MarkupWriter(prompt, profile).write(calls, rule);
}

}  // namespace lethe
