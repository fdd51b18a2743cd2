#include "tensor/json_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/printable.h"

namespace lethe::internal {

namespace {

std::optional<int64_t> as_int(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

const Json& empty_object() {
  static const Json object = Json::object();
  return object;
}

}  // namespace

const Json* JsonFields::find(std::string_view name) const {
  const auto it = object_->find(name);
  return it == object_->end() ? nullptr : &*it;
}

bool JsonFields::has(std::string_view name) const {
  const Json* value = find(name);
  return value != nullptr && !value->is_null();
}

void JsonFields::fault(std::string_view name, std::string_view expected) {
  const Json* value = find(name);
  const std::string found = value == nullptr ? "nothing" : printable(dump_json(*value), 60);
  faults_->push_back(fmt::format("{}{}: found {}, expected {}", prefix_, name, found, expected));
}

const Json* JsonFields::require(std::string_view name, std::string_view expected) {
  known(name);
  const Json* value = find(name);
  if (value == nullptr || value->is_null()) {
    fault(name, expected);
    return nullptr;
  }
  return value;
}

void JsonFields::read(std::string_view name, int64_t& out) {
  constexpr std::string_view expected = "an integer";
  const Json* value = require(name, expected);
  if (value == nullptr) return;
  if (const auto number = as_int(*value)) {
    out = *number;
  } else {
    fault(name, expected);
  }
}

void JsonFields::read(std::string_view name, double& out) {
  constexpr std::string_view expected = "a number";
  const Json* value = require(name, expected);
  if (value == nullptr) return;
  if (value->is_number()) {
    out = value->get<double>();
  } else {
    fault(name, expected);
  }
}

void JsonFields::read(std::string_view name, bool& out) {
  constexpr std::string_view expected = "true or false";
  const Json* value = require(name, expected);
  if (value == nullptr) return;
  if (value->is_boolean()) {
    out = value->get<bool>();
  } else {
    fault(name, expected);
  }
}

void JsonFields::read(std::string_view name, std::string& out) {
  constexpr std::string_view expected = "a string";
  const Json* value = require(name, expected);
  if (value == nullptr) return;
  if (value->is_string()) {
    out = value->get<std::string>();
  } else {
    fault(name, expected);
  }
}

void JsonFields::read(std::string_view name, std::vector<int64_t>& out) {
  constexpr std::string_view expected = "an array of integers";
  const Json* value = require(name, expected);
  if (value == nullptr) return;
  std::vector<int64_t> numbers;
  bool good = value->is_array();
  for (size_t i = 0; good && i < value->size(); ++i) {
    const auto number = as_int((*value)[i]);
    good = number.has_value();
    if (good) numbers.push_back(*number);
  }
  if (good) {
    out = std::move(numbers);
  } else {
    fault(name, expected);
  }
}

void JsonFields::expect_text(std::string_view name,
                             std::initializer_list<std::string_view> allowed) {
  known(name);
  if (!has(name)) return;
  const Json& value = *find(name);
  const bool good = value.is_string() && std::find(allowed.begin(), allowed.end(),
                                                   value.get<std::string>()) != allowed.end();
  if (!good) fault(name, fmt::format("{}", fmt::join(allowed, " or ")));
}

void JsonFields::expect_bool(std::string_view name, bool value) {
  known(name);
  if (has(name) && *find(name) != Json(value)) fault(name, value ? "true" : "false");
}

void JsonFields::expect_int(std::string_view name, int64_t value) {
  known(name);
  if (has(name) && as_int(*find(name)) != value) fault(name, fmt::format("{}", value));
}

JsonFields JsonFields::child(std::string_view name) {
  const Json* value = require(name, "an object");
  if (value != nullptr && !value->is_object()) {
    fault(name, "an object");
    value = nullptr;
  }
  return {value == nullptr ? empty_object() : *value, fmt::format("{}{}.", prefix_, name),
          *faults_};
}

void JsonFields::ignore(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) known(name);
}

void JsonFields::append_unknown(std::vector<std::string>& out) const {
  for (const auto& item : object_->items()) {
    if (known_.find(item.key()) == known_.end()) out.push_back(prefix_ + printable(item.key()));
  }
}

}  // namespace lethe::internal
