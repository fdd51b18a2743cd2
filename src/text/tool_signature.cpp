#include "text/tool_signature.h"

#include <array>
#include <optional>

namespace lethe {
namespace {

constexpr std::array<std::string_view, 7> kTypeNames = {"string", "integer", "number", "boolean",
                                                        "object", "array",   "null"};

JsonTypes types_of_schema(const Json& schema, int depth);

JsonTypes union_of(const Json& schemas, int depth) {
  JsonTypes types = JsonTypes::none();
  for (const Json& schema : schemas) types = types | types_of_schema(schema, depth);
  return types;
}

JsonTypes types_of_schema(const Json& schema, int depth) {
  static constexpr int kDepthMax = 8;
  if (!schema.is_object() || depth > kDepthMax) return JsonTypes::any();
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (type->is_string()) return JsonTypes::named(type->get_ref<const std::string&>());
    JsonTypes types = JsonTypes::none();
    for (const Json& word : *type) {
      types = types | (word.is_string() ? JsonTypes::named(word.get_ref<const std::string&>())
                                        : JsonTypes::any());
    }
    return types == JsonTypes::none() ? JsonTypes::any() : types;
  }
  for (const char* key : {"anyOf", "oneOf"}) {
    const auto choices = schema.find(key);
    if (choices != schema.end() && choices->is_array() && !choices->empty()) {
      return union_of(*choices, depth + 1);
    }
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    JsonTypes types = JsonTypes::none();
    for (const Json& value : *values) types = types | JsonTypes::of(value);
    return values->empty() ? JsonTypes::any() : types;
  }
  return JsonTypes::any();
}

std::optional<Json> try_parse(std::string_view text) {
  try {
    return parse_json(text);
  } catch (const JsonError&) {
    return std::nullopt;
  }
}

/// `text` without commas that only space separates from a closing bracket, outside strings.
std::string without_trailing_commas(std::string_view text) {
  std::string out;
  bool in_string = false;
  size_t comma = std::string::npos;  // in `out`, with only space behind it
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\' && i + 1 < text.size()) {
      out += c;
      out += text[++i];
      continue;
    }
    if (c == '"') in_string = !in_string;
    if (!in_string && (c == ']' || c == '}') && comma != std::string::npos) out.erase(comma, 1);
    if (in_string || std::string_view(" \t\n\r").find(c) == std::string_view::npos) {
      comma = !in_string && c == ',' ? out.size() : std::string::npos;
    }
    out += c;
  }
  return out;
}

std::string as_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string repaired_json(std::string_view text) {
  if (try_parse(text)) return std::string(text);
  std::string mended = without_trailing_commas(text);
  return try_parse(mended) ? mended : as_string(text);
}

}  // namespace

JsonTypes JsonTypes::named(std::string_view type) {
  for (size_t i = 0; i < kTypeNames.size(); ++i) {
    // Every integer is a number.
    if (type == "number") return JsonTypes(0b110);
    if (kTypeNames[i] == type) return JsonTypes(1u << i);
  }
  return any();
}

JsonTypes JsonTypes::of(const Json& value) {
  if (value.is_string()) return named("string");
  if (value.is_number_float()) return JsonTypes(0b100);
  if (value.is_number() || value.is_binary()) return named("integer");
  if (value.is_boolean()) return named("boolean");
  if (value.is_object()) return named("object");
  if (value.is_array()) return named("array");
  return named("null");
}

ToolSignature::ToolSignature(std::string name, const Json& parameters) : name_(std::move(name)) {
  const auto properties = parameters.find("properties");
  if (properties == parameters.end() || !properties->is_object()) return;
  for (const auto& [key, schema] : properties->items()) {
    types_.emplace(key, types_of_schema(schema, 0));
  }
}

JsonTypes ToolSignature::types_of(const std::string& parameter) const {
  const auto found = types_.find(parameter);
  return found == types_.end() ? JsonTypes::any() : found->second;
}

std::string repaired_value(std::string_view text, WrittenAs written, JsonTypes allowed) {
  if (written == WrittenAs::json) return repaired_json(text);
  const bool takes_strings = allowed.contains(JsonTypes::named("string"));
  const bool is_known = !(allowed == JsonTypes::any());
  if (takes_strings && (written == WrittenAs::string || is_known)) return as_string(text);
  const std::optional<Json> value = try_parse(text);
  return value && allowed.contains(JsonTypes::of(*value)) ? std::string(text) : as_string(text);
}

}  // namespace lethe
