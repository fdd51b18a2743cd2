#pragma once

#include <exception>
#include <string>
#include <string_view>

#include "base/json_py.h"
#include "serve/http/http_message.h"

namespace lethe::serve {

/// What a failed request is answered with (spec api.md section 2.7).
struct ApiError {
  int status = 500;
  std::string type;  ///< invalid_request_error, authentication_error, rate_limit_error, ...
  std::string message;
  int retry_after_s = 0;        ///< 0: says nothing about trying again
  std::string_view allow = {};  ///< for 405: the method that the path takes; a literal

  /// {"error": {"message", "type", "param": null, "code"}}
  Json body() const;
  HttpResponse response() const;
};

/// The type that goes with a status.
ApiError api_error(int status, std::string message);
/// From an exception of this program: RequestError, PromptError, UsageError, JsonError: the
/// client's fault, 400 or what the exception says; BusyError: 429; ShutDownError: 503; anything
/// else: 500.
ApiError api_error(const std::exception& exception);

}  // namespace lethe::serve
