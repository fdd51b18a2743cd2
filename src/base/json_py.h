#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lethe {

/// A JSON value whose objects keep the order of their keys. Lookup in an object is linear.
///
/// An integer that fits neither int64 nor uint64 is held as a binary value of subtype
/// kJsonBigInteger whose bytes are its decimal digits: parse_json() makes such values, dump_json()
/// writes them back exactly, and is_number() is false for them.
using Json = nlohmann::ordered_json;
inline constexpr unsigned kJsonBigInteger = 0x494e54;

/// Text that is not JSON, or is larger than the caller allows. `offset()` is the byte where reading
/// stopped.
class JsonError : public Error {
 public:
  JsonError(std::string_view what, size_t offset)
      : Error("JSON, byte {}: {}", offset, what), offset_(offset) {}
  size_t offset() const noexcept { return offset_; }

 private:
  size_t offset_;
};

/// What parse_json() accepts before it builds anything of that size.
struct JsonLimits {
  int depth = 200;                ///< of nested arrays and objects
  size_t object_keys = 20'000;    ///< in one object, duplicates counted
  size_t values = 4'000'000;      ///< in the whole text
  size_t integer_digits = 4'300;  ///< Python's own limit for reading an integer
};

/// Reads JSON as Python's json.loads does (spec encoding.md section 4): strict, with NaN, Infinity
/// and -Infinity; integers exact at any size, `-0` is 0; a number with a point or an exponent is a
/// double; of duplicate keys the last value stands in the first one's place. A lone surrogate
/// escape becomes U+FFFD. Bytes that are not UTF-8, and a byte-order mark, are errors.
/// Throws JsonError. Linear in the text. Pure; any thread.
Json parse_json(std::string_view text, const JsonLimits& limits = {});

/// Appends `value` as Python's json.dumps(value, ensure_ascii=False) writes it: ", " and ": ",
/// shortest round-trip floats (1.0, 1e-07, 1e+16), NaN and Infinity by name. Bytes of strings that
/// are not UTF-8 pass through. Pure; any thread.
void append_json(std::string& out, const Json& value);
std::string dump_json(const Json& value);

/// Appends `text` as a JSON string, in quotes.
void append_json_string(std::string& out, std::string_view text);
/// Appends the inside of that string. Any cut of a text may be escaped piece by piece.
void append_json_escaped(std::string& out, std::string_view text);

/// Python's repr(double).
std::string python_float_repr(double value);

}  // namespace lethe
