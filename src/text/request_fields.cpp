#include "text/request_fields.h"

#include <nlohmann/json.hpp>

namespace lethe {
namespace {

std::string place_of(const char* key, const std::string& where) {
  return where.empty() ? key : fmt::format("{}.{}", where, key);
}

}  // namespace

void refuse_request(const std::string& where, std::string_view what, int status) {
  throw RequestError(status, fmt::format("{}: {}", where, what));
}

const Json& request_member(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

const Json& request_object(const Json& value, const std::string& where) {
  if (!value.is_object()) refuse_request(where, "must be an object", 422);
  return value;
}

std::string request_string(const Json& value, const std::string& where) {
  if (!value.is_string()) refuse_request(where, "must be a string", 422);
  return value.get<std::string>();
}

std::string optional_string(const Json& object, const char* key, const std::string& where) {
  const Json& value = request_member(object, key);
  return value.is_null() ? std::string() : request_string(value, place_of(key, where));
}

bool optional_bool(const Json& object, const char* key, const std::string& where) {
  const Json& value = request_member(object, key);
  if (value.is_null()) return false;
  if (!value.is_boolean()) refuse_request(place_of(key, where), "must be true or false", 422);
  return value.get<bool>();
}

std::optional<double> optional_number(const Json& object, const char* key, double min, double max) {
  const Json& value = request_member(object, key);
  if (value.is_null()) return std::nullopt;
  if (!value.is_number()) refuse_request(key, "must be a number", 422);
  const double number = value.get<double>();
  if (!(number >= min && number <= max)) {
    refuse_request(key, fmt::format("{} is out of range: {} to {}", number, min, max));
  }
  return number;
}

std::optional<int64_t> optional_integer(const Json& object, const char* key, int64_t min,
                                        int64_t max) {
  const Json& value = request_member(object, key);
  if (value.is_null()) return std::nullopt;
  // One past int64 is unsigned, further ones are held as digits.
  const bool is_large = value.is_binary() ||
                        (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX});
  if (!value.is_number_integer() && !is_large) refuse_request(key, "must be an integer", 422);
  const int64_t number = is_large ? 0 : value.get<int64_t>();
  if (is_large || number < min || number > max) {
    refuse_request(key, fmt::format("{} is out of range: {} to {}", dump_json(value), min, max));
  }
  return number;
}

}  // namespace lethe
