#include "mini/tool_check.h"

#include <algorithm>
#include <optional>
#include <string>

namespace lethe::mini {

namespace {

std::optional<Json> arguments_of(const Answer& answer) {
  try {
    Json arguments = parse_json(answer.calls.front().arguments);
    if (arguments.is_object()) return arguments;
  } catch (const JsonError&) {
  }
  return std::nullopt;
}

bool has_type(const Json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == "boolean" && value.is_boolean();
}

bool fits(const Json& arguments, const Json& schema) {
  const Json& properties = schema.at("properties");
  const bool known = std::ranges::all_of(arguments.items(), [&](const auto& argument) {
    return properties.contains(argument.key()) &&
           has_type(argument.value(), properties.at(argument.key()).at("type"));
  });
  if (!known || !schema.contains("required")) return known;
  return std::ranges::all_of(schema.at("required"),
                             [&](const Json& key) { return arguments.contains(key); });
}

}  // namespace

bool is_valid_call(const Answer& answer, const Json& tools) {
  if (answer.calls.size() != 1 || answer.finish_reason != "tool_calls") return false;
  const auto arguments = arguments_of(answer);
  return arguments && std::ranges::any_of(tools, [&](const Json& tool) {
           const Json& function = tool.at("function");
           return function.at("name") == answer.calls.front().name &&
                  fits(*arguments, function.at("parameters"));
         });
}

bool is_meant_call(const Answer& answer, const ToolCase& expected) {
  if (!is_valid_call(answer, expected.tools)) return false;
  const auto arguments = arguments_of(answer);
  // Objects that differ in the order of their keys only are equal.
  return answer.calls.front().name == expected.name &&
         nlohmann::json(*arguments) == nlohmann::json(expected.arguments);
}

}  // namespace lethe::mini
