#include "tensor/gguf_keys.h"

#include <fmt/format.h>

#include "base/printable.h"

namespace lethe::internal {

namespace {

std::string found_text(const GgufValue& value) {
  if (value.is_array()) {
    return fmt::format("an array of {} {}", value.size(), gguf_type_name(value.element_type()));
  }
  if (const auto text = value.as_string()) return '"' + printable(*text, 60) + '"';
  if (const auto number = value.as_int()) return fmt::format("{}", *number);
  if (const auto number = value.as_uint()) return fmt::format("{}", *number);
  if (const auto number = value.as_float()) return fmt::format("{}", *number);
  return std::string(gguf_type_name(value.type()));
}

}  // namespace

const GgufValue* GgufKeys::find(Names names) {
  ignore(names);
  for (const std::string_view name : names) {
    if (const GgufValue* value = gguf_->value(prefix_ + std::string(name))) return value;
  }
  return nullptr;
}

bool GgufKeys::is_array(Names names) {
  const GgufValue* value = find(names);
  return value != nullptr && value->is_array();
}

uint64_t GgufKeys::count(Names names) {
  const GgufValue* value = find(names);
  return value == nullptr ? 0 : value->size();
}

void GgufKeys::fault(Names names, std::string_view expected) {
  const GgufValue* value = find(names);
  faults_->push_back(fmt::format("{}{}: found {}, expected {}", prefix_, *names.begin(),
                                 value == nullptr ? "nothing" : found_text(*value), expected));
}

const GgufValue* GgufKeys::require(Names names, bool array, std::string_view expected) {
  const GgufValue* value = find(names);
  if (value == nullptr || value->is_array() != array) {
    fault(names, expected);
    return nullptr;
  }
  return value;
}

void GgufKeys::read(Names names, int64_t& out) {
  const GgufValue* value = require(names, false, "an integer");
  if (value == nullptr) return;
  if (const auto number = value->as_int()) {
    out = *number;
  } else {
    fault(names, "an integer");
  }
}

void GgufKeys::read(Names names, double& out) {
  const GgufValue* value = require(names, false, "a number");
  if (value == nullptr) return;
  if (const auto number = value->as_float()) {
    out = *number;
  } else {
    fault(names, "a number");
  }
}

void GgufKeys::read(Names names, bool& out) {
  const GgufValue* value = require(names, false, "true or false");
  if (value == nullptr) return;
  if (const auto flag = value->as_bool()) {
    out = *flag;
  } else {
    fault(names, "true or false");
  }
}

void GgufKeys::read(Names names, std::string& out) {
  const GgufValue* value = require(names, false, "a string");
  if (value == nullptr) return;
  if (const auto text = value->as_string()) {
    out = std::string(*text);
  } else {
    fault(names, "a string");
  }
}

void GgufKeys::read(Names names, std::vector<int64_t>& out) {
  constexpr std::string_view expected = "an array of integers";
  const GgufValue* value = require(names, true, expected);
  if (value == nullptr) return;
  std::vector<int64_t> numbers;
  for (uint64_t i = 0; i < value->size(); ++i) {
    const auto number = value->as_int(i);
    if (!number) return fault(names, expected);
    numbers.push_back(*number);
  }
  out = std::move(numbers);
}

void GgufKeys::read(Names names, std::vector<double>& out) {
  constexpr std::string_view expected = "an array of numbers";
  const GgufValue* value = require(names, true, expected);
  if (value == nullptr) return;
  std::vector<double> numbers;
  for (uint64_t i = 0; i < value->size(); ++i) {
    const auto number = value->as_float(i);
    if (!number) return fault(names, expected);
    numbers.push_back(*number);
  }
  out = std::move(numbers);
}

void GgufKeys::expect(Names names, int64_t value) {
  const GgufValue* found = find(names);
  if (found == nullptr) return;
  if (found->is_array() || found->as_int() != value) fault(names, fmt::format("{}", value));
}

void GgufKeys::append_unknown(std::vector<std::string>& out) const {
  for (const auto& [key, value] : gguf_->values()) {
    if (!key.starts_with(prefix_)) continue;
    const std::string_view name = std::string_view(key).substr(prefix_.size());
    if (known_.find(name) == known_.end()) out.push_back(printable(key));
  }
}

}  // namespace lethe::internal
