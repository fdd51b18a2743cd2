#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/json_py.h"
#include "base/utf8.h"

namespace lethe {
namespace {

/// Recursive descent over one text; the depth limit bounds the recursion.
class JsonReader {
 public:
  JsonReader(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Json read_document() {
    if (text_.starts_with("\xef\xbb\xbf")) fail("a byte-order mark is not JSON");
    Json value = read_value(0);
    skip_space();
    if (at_ != text_.size()) fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { throw JsonError(what, at_); }

  bool has(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool has_digit() const { return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }

  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  void skip_space() {
    while (at_ < text_.size() &&
           std::string_view(" \t\n\r").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
  }

  Json read_value(int depth) {
    skip_space();
    if (at_ == text_.size()) fail("the text ends where a value is expected");
    if (++num_values_ > limits_.values) fail("more values than the limit allows");
    switch (text_[at_]) {
      case '{':
        return read_object(depth + 1);
      case '[':
        return read_array(depth + 1);
      case '"':
        return read_string();
      default:
        return read_word_or_number();
    }
  }

  Json read_word_or_number() {
    if (take("null")) return nullptr;
    if (take("true")) return true;
    if (take("false")) return false;
    if (take("NaN")) return std::numeric_limits<double>::quiet_NaN();
    if (take("Infinity")) return std::numeric_limits<double>::infinity();
    if (take("-Infinity")) return -std::numeric_limits<double>::infinity();
    if (has('-') || has_digit()) return read_number();
    fail("expected a value");
  }

  void check_depth(int depth) const {
    if (depth > limits_.depth) fail("nested deeper than the limit allows");
  }

  Json read_array(int depth) {
    check_depth(depth);
    Json array = Json::array();
    ++at_;
    skip_space();
    if (take("]")) return array;
    while (true) {
      array.push_back(read_value(depth));
      skip_space();
      if (take("]")) return array;
      if (!take(",")) fail("expected ',' or ']'");
    }
  }

  Json read_object(int depth) {
    check_depth(depth);
    Json object = Json::object();
    ++at_;
    skip_space();
    if (take("}")) return object;
    std::unordered_map<std::string, size_t> place_of_key;
    Json::object_t::Container& members = object.get_ref<Json::object_t&>();
    size_t num_keys = 0;
    while (true) {
      skip_space();
      if (!has('"')) fail("expected a key in quotes");
      if (++num_keys > limits_.object_keys) fail("more keys in one object than the limit allows");
      std::string key = read_string();
      skip_space();
      if (!take(":")) fail("expected ':'");
      Json value = read_value(depth);
      const auto [place, is_new] = place_of_key.try_emplace(key, members.size());
      if (is_new) {
        // The map knows that the key is new: the container's own check would search all members.
        members.emplace_back(std::move(key), std::move(value));
      } else {
        members[place->second].second = std::move(value);
      }
      skip_space();
      if (take("}")) return object;
      if (!take(",")) fail("expected ',' or '}'");
    }
  }

  std::string read_string() {
    ++at_;
    std::string out;
    while (true) {
      const size_t plain = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      }
      append_plain(out, plain);
      if (at_ == text_.size()) fail("a string does not end");
      if (take("\"")) return out;
      if (!take("\\")) fail("a control character inside a string");
      read_escape(out);
    }
  }

  void append_plain(std::string& out, size_t begin) {
    const std::string_view piece = text_.substr(begin, at_ - begin);
    if (const size_t valid = valid_utf8_prefix(piece); valid != piece.size()) {
      at_ = begin + valid;
      fail("bytes that are not UTF-8");
    }
    out += piece;
  }

  void read_escape(std::string& out) {
    if (at_ == text_.size()) fail("a string does not end");
    const char c = text_[at_++];
    switch (c) {
      case '"':
      case '\\':
      case '/':
        out += c;
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        append_utf8(out, read_code_point());
        return;
      default:
        --at_;
        fail("an unknown escape in a string");
    }
  }

  char32_t read_code_point() {
    const char32_t unit = read_hex4();
    if (unit < 0xD800 || unit > 0xDFFF) return unit;
    if (unit <= 0xDBFF && text_.substr(at_).starts_with("\\u")) {
      const size_t before = at_;
      at_ += 2;
      const char32_t low = read_hex4();
      if (low >= 0xDC00 && low <= 0xDFFF) return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
      at_ = before;
    }
    return kReplacementCharacter;
  }

  char32_t read_hex4() {
    uint32_t unit = 0;
    if (text_.size() - at_ < 4) fail("a \\u escape needs four hexadecimal digits");
    const char* begin = text_.data() + at_;
    const auto end = std::from_chars(begin, begin + 4, unit, 16);
    if (end.ptr != begin + 4) fail("a \\u escape needs four hexadecimal digits");
    at_ += 4;
    return unit;
  }

  void skip_digits() {
    if (!has_digit()) fail("expected a digit");
    while (has_digit()) ++at_;
  }

  Json read_number() {
    const size_t begin = at_;
    take("-");
    if (!take("0")) skip_digits();
    bool is_float = false;
    if (has('.')) {
      is_float = true;
      ++at_;
      skip_digits();
    }
    if (has('e') || has('E')) {
      is_float = true;
      ++at_;
      if (has('+') || has('-')) ++at_;
      skip_digits();
    }
    const std::string_view number = text_.substr(begin, at_ - begin);
    return is_float ? Json(to_double(number)) : to_integer(number);
  }

  Json to_integer(std::string_view digits) const {
    const char* end = digits.data() + digits.size();
    int64_t small = 0;
    if (std::from_chars(digits.data(), end, small).ec == std::errc()) return small;
    uint64_t large = 0;
    if (digits.front() != '-' && std::from_chars(digits.data(), end, large).ec == std::errc()) {
      return large;
    }
    if (digits.size() > limits_.integer_digits) fail("an integer longer than the limit allows");
    return Json::binary({digits.begin(), digits.end()}, kJsonBigInteger);
  }

  /// The nearest double; beyond its range infinity or zero, as in Python.
  static double to_double(std::string_view number) {
    double value = 0;
    const auto result = std::from_chars(number.data(), number.data() + number.size(), value);
    if (result.ec == std::errc()) return value;
    const double magnitude = is_above_one(number) ? std::numeric_limits<double>::infinity() : 0.0;
    return number.front() == '-' ? -magnitude : magnitude;
  }

  /// For a number outside the range of double: whether it is too large (else too small).
  static bool is_above_one(std::string_view number) {
    const size_t e = number.find_first_of("eE");
    const std::string_view mantissa = number.substr(0, e);
    long exponent = 0;
    if (e != std::string_view::npos) {
      const size_t at = e + (number[e + 1] == '+' ? 2 : 1);
      const auto end = std::from_chars(number.data() + at, number.data() + number.size(), exponent);
      if (end.ec != std::errc()) return number[e + 1] != '-';
    }
    const size_t first = mantissa.find_first_of("123456789");
    const size_t point = std::min(mantissa.find('.'), mantissa.size());
    const long leading = static_cast<long>(point) - static_cast<long>(first);
    return leading > -exponent;
  }

  std::string_view text_;
  const JsonLimits& limits_;
  size_t at_ = 0;
  size_t num_values_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, const JsonLimits& limits) {
  return JsonReader(text, limits).read_document();
}

}  // namespace lethe
