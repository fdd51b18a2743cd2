#include "serve/api/api_json.h"

#include <fmt/core.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>

namespace lethe::serve {

std::string compact_json(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

HttpResponse json_response(int status, const Json& body) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = compact_json(body)};
}

std::string sse_data(const Json& value) {
  return "data: " + compact_json(value) + "\n\n";
}

std::string random_id() {
  std::random_device device;
  std::string id;
  for (int i = 0; i < 4; ++i) id += fmt::format("{:08x}", uint32_t{device()});
  return id;
}

}  // namespace lethe::serve
