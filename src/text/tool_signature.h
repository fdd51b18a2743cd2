#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/json_py.h"

namespace lethe {

/// A set of JSON types.
class JsonTypes {
 public:
  static JsonTypes any() { return JsonTypes(0xFF); }
  static JsonTypes none() { return JsonTypes(0); }
  /// The set that `type` (a JSON schema's word: string, number, integer ...) names; any() for an
  /// unknown word.
  static JsonTypes named(std::string_view type);
  /// The set of the one type of a value.
  static JsonTypes of(const Json& value);

  JsonTypes operator|(JsonTypes other) const { return JsonTypes(bits_ | other.bits_); }
  bool operator==(const JsonTypes&) const = default;
  /// Whether every type of `other` is in this set.
  bool contains(JsonTypes other) const { return (other.bits_ & ~bits_) == 0; }

 private:
  explicit JsonTypes(unsigned bits) : bits_(bits) {}
  unsigned bits_;
};

/// A declared tool, as far as reading a call of it needs: its name, and the types that its schema
/// allows for each parameter.
class ToolSignature {
 public:
  /// `parameters` is the JSON schema of an object. What is not understood of it allows any type.
  ToolSignature(std::string name, const Json& parameters);

  const std::string& name() const noexcept { return name_; }
  JsonTypes types_of(const std::string& parameter) const;

 private:
  std::string name_;
  std::unordered_map<std::string, JsonTypes> types_;
};

/// How a value stood in a call: with string="true", with string="false", or without the attribute.
enum class WrittenAs { string, json, unmarked };

/// The JSON text for a parameter's value as the model wrote it, mended where it does not fit (spec
/// encoding.md section 9.1): a typed value written as a string, JSON with trailing commas, JSON
/// that does not parse (it becomes a string). Never fails.
std::string repaired_value(std::string_view text, WrittenAs written, JsonTypes allowed);

}  // namespace lethe
