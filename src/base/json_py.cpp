#include "base/json_py.h"

#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace lethe {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

/// The two-character escape of a byte, or nothing where it has none.
std::string_view short_escape(unsigned char byte) {
  switch (byte) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    default:
      return {};
  }
}

bool needs_escape(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == '"' || byte == '\\';
}

template <typename Integer>
void append_integer(std::string& out, Integer value) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out.append(digits.data(), end.ptr);
}

void append_object(std::string& out, const Json& object) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : object.get_ref<const Json::object_t&>()) {
    if (!first) out += ", ";
    first = false;
    append_json_string(out, key);
    out += ": ";
    append_json(out, value);
  }
  out += '}';
}

void append_array(std::string& out, const Json& array) {
  out += '[';
  bool first = true;
  for (const Json& value : array) {
    if (!first) out += ", ";
    first = false;
    append_json(out, value);
  }
  out += ']';
}

void append_big_integer(std::string& out, const Json& value) {
  const auto& digits = value.get_binary();
  LETHE_CHECK(digits.has_subtype() && digits.subtype() == kJsonBigInteger,
              "a binary value that is no integer has no JSON text");
  out.append(digits.begin(), digits.end());
}

}  // namespace

std::string python_float_repr(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
  const std::string_view shortest(text.data(), static_cast<size_t>(end.ptr - text.data()));

  // d.ddde[+-]xx: Python shows the same digits, but moves the point for exponents in [-4, 16).
  const size_t e = shortest.find('e');
  int exponent = 0;
  const size_t exponent_at = e + (shortest[e + 1] == '+' ? 2 : 1);
  std::from_chars(shortest.data() + exponent_at, shortest.data() + shortest.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);

  std::string sign = shortest.front() == '-' ? "-" : "";
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

void append_json_escaped(std::string& out, std::string_view text) {
  size_t done = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!needs_escape(text[i])) continue;
    out.append(text, done, i - done);
    done = i + 1;
    const auto byte = static_cast<unsigned char>(text[i]);
    if (const std::string_view escape = short_escape(byte); !escape.empty()) {
      out += escape;
    } else {
      out += "\\u00";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    }
  }
  out.append(text, done, text.size() - done);
}

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_json(std::string& out, const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      out += "null";
      return;
    case Json::value_t::boolean:
      out += value.get<bool>() ? "true" : "false";
      return;
    case Json::value_t::number_integer:
      append_integer(out, value.get<int64_t>());
      return;
    case Json::value_t::number_unsigned:
      append_integer(out, value.get<uint64_t>());
      return;
    case Json::value_t::number_float:
      out += python_float_repr(value.get<double>());
      return;
    case Json::value_t::string:
      append_json_string(out, value.get_ref<const std::string&>());
      return;
    case Json::value_t::array:
      append_array(out, value);
      return;
    case Json::value_t::object:
      append_object(out, value);
      return;
    case Json::value_t::binary:
      append_big_integer(out, value);
      return;
    case Json::value_t::discarded:
      break;
  }
  LETHE_CHECK(false, "a discarded JSON value cannot be written");
}

std::string dump_json(const Json& value) {
  std::string out;
  append_json(out, value);
  return out;
}

}  // namespace lethe
