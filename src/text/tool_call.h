#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_py.h"
#include "text/prompt.h"
#include "text/prompt_profile.h"

namespace lethe {

/// A call that an earlier assistant turn made, as the client gives it back.
struct ToolCall {
  std::string id;
  std::string name;  ///< with its namespace where the profile has them
  Json arguments;    ///< usually a string of JSON; clients also send the object itself
};

/// What becomes of arguments that are not a JSON text of an object (spec encoding.md section 5).
enum class ArgumentsRule {
  v4_encoder,  ///< V4's own encoder: a text of anything else is refused, a non-text is one value
  lenient,     ///< anything that is no object is shown as it was sent
  unwrap,      ///< lenient, and a JSON string that holds an object counts as that object
};

/// V4.1's name for a tool: `namespace::name`. `tool_namespace` is null, a string, or an object with
/// `name`. A name that already has a namespace is checked against it. Throws PromptError for a
/// second "::" and for a namespace that disagrees.
std::string qualified_tool_name(std::string_view name, const Json& tool_namespace);

/// Appends "## Tools" with one line a schema, in the given order (section 4).
void append_tools_section(Prompt& prompt, const PromptProfile& profile,
                          const std::vector<Json>& schemas);

/// Appends "## Response Format:" with the schema (section 3.4).
void append_response_format(Prompt& prompt, const Json& schema);

/// Appends a blank line and the calls as DSML markup (section 5): the markup's added token is
/// template, names and values are client text. Nothing for no calls. Throws PromptError where
/// `rule` refuses the arguments.
void append_tool_calls(Prompt& prompt, const PromptProfile& profile,
                       const std::vector<ToolCall>& calls, ArgumentsRule rule);

}  // namespace lethe
