#include "serve/api/api_error.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "engine/engine.h"
#include "serve/api/api_json.h"
#include "text/prompt_profile.h"
#include "text/request_fields.h"

namespace lethe::serve {

namespace {

constexpr int kRetryAfterS = 1;

std::string type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

Json ApiError::body() const {
  return {{"error", {{"message", message}, {"type", type}, {"param", nullptr}, {"code", type}}}};
}

HttpResponse ApiError::response() const {
  HttpResponse response = json_response(status, body());
  if (retry_after_s > 0) {
    response.headers.emplace_back("Retry-After", std::to_string(retry_after_s));
  }
  if (!allow.empty()) response.headers.emplace_back("Allow", allow);
  return response;
}

ApiError api_error(int status, std::string message) {
  const bool again = status == 429 || status == 503;
  return {.status = status,
          .type = type_of(status),
          .message = std::move(message),
          .retry_after_s = again ? kRetryAfterS : 0};
}

ApiError api_error(const std::exception& exception) {
  int status = 500;
  if (const auto* request = dynamic_cast<const RequestError*>(&exception)) {
    status = request->status();
  } else if (dynamic_cast<const engine::BusyError*>(&exception) != nullptr) {
    status = 429;
  } else if (dynamic_cast<const engine::ShutDownError*>(&exception) != nullptr) {
    status = 503;
  } else if (dynamic_cast<const UsageError*>(&exception) != nullptr ||
             dynamic_cast<const PromptError*>(&exception) != nullptr ||
             dynamic_cast<const JsonError*>(&exception) != nullptr) {
    status = 400;
  }
  return api_error(status, exception.what());
}

}  // namespace lethe::serve
