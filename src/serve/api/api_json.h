#pragma once

#include <string>

#include "base/json_py.h"
#include "serve/http/http_message.h"

namespace lethe::serve {

/// JSON as it goes over the wire: compact; bytes that are not UTF-8 become U+FFFD.
std::string compact_json(const Json& value);
HttpResponse json_response(int status, const Json& body);
/// One server-sent event: "data: {...}" and an empty line.
std::string sse_data(const Json& value);

/// 32 hexadecimal digits from the system's random source, for ids that must not meet.
std::string random_id();

}  // namespace lethe::serve
