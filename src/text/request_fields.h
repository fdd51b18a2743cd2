#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_py.h"

namespace lethe {

/// A request that a server answers with `status()`: 400 for a broken rule, 422 for a value of the
/// wrong type. what() names the place ("messages[2].content: ...").
class RequestError : public Error {
 public:
  RequestError(int status, const std::string& what) : Error("{}", what), status_(status) {}
  int status() const noexcept { return status_; }
  int exit_code() const noexcept override { return 2; }

 private:
  int status_;
};

/// Throws RequestError: "WHERE: WHAT".
[[noreturn]] void refuse_request(const std::string& where, std::string_view what, int status = 400);

/// The member of that key; null where the object lacks it.
const Json& request_member(const Json& object, const char* key);

/// `value` itself, checked to be an object (else 422).
const Json& request_object(const Json& value, const std::string& where);
/// A string (else 422).
std::string request_string(const Json& value, const std::string& where);

/// Members that may be absent or null. A wrong type is 422, a value outside the range 400. `where`
/// is the object's place, empty for the request body.
std::string optional_string(const Json& object, const char* key, const std::string& where = "");
bool optional_bool(const Json& object, const char* key, const std::string& where = "");
std::optional<double> optional_number(const Json& object, const char* key, double min, double max);
std::optional<int64_t> optional_integer(const Json& object, const char* key, int64_t min,
                                        int64_t max);

}  // namespace lethe
