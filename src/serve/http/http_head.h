#pragma once

#include <cstddef>
#include <string>

#include "serve/http/http_message.h"

namespace lethe::serve {

/// How the client finds the end of a body.
enum class BodyFraming { kNone, kLength, kChunked, kUntilClose };

struct HttpHeadArgs {
  int status = 200;
  const HttpHeaders& headers;
  BodyFraming framing = BodyFraming::kNone;
  size_t content_length = 0;  ///< for kLength
  bool keep_alive = true;
  bool http_1_0 = false;  ///< the client's version, where keep-alive has to be said
};

/// Status line and headers up to the empty line. `headers` must be without fault. Any thread.
std::string http_head(const HttpHeadArgs& args);

/// What is wrong with headers that a handler made: bytes that would end the line, or names that are
/// the server's own. Empty if nothing is.
std::string header_fault(const HttpHeaders& headers);

}  // namespace lethe::serve
