#include "serve/http/http_message.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace lethe::serve {
namespace {

// Header names are ASCII, whatever the locale says.
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

}  // namespace

std::optional<std::string_view> find_header(const HttpHeaders& headers, std::string_view name) {
  for (const auto& [other, value] : headers) {
    if (std::equal(other.begin(), other.end(), name.begin(), name.end(),
                   [](char a, char b) { return lower(a) == lower(b); })) {
      return value;
    }
  }
  return std::nullopt;
}

HttpResponse http_error(int status, std::string_view message) {
  const char* type = status >= 500 ? "server_error" : "invalid_request_error";
  nlohmann::ordered_json error;
  error["message"] = message;
  error["type"] = type;
  error["param"] = nullptr;
  error["code"] = type;
  const nlohmann::ordered_json body = {{"error", error}};
  // An exception's text may hold any bytes: what is not UTF-8 becomes U+FFFD.
  return {.status = status,
          .headers = {{"content-type", "application/json"}},
          .body = body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
}

}  // namespace lethe::serve
