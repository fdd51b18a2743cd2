#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lethe::serve {

/// (name, value), in the order of the wire. Names compare without case.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of that name. The view lives as long as `headers`.
std::optional<std::string_view> find_header(const HttpHeaders& headers, std::string_view name);

/// A request that has arrived as a whole.
struct HttpRequest {
  std::string method;  ///< as sent; methods are case-sensitive: "GET", "POST"
  std::string path;    ///< begins with '/' (or is "*"); still percent-encoded, without the query
  std::string query;   ///< what follows the first '?', still percent-encoded; often empty
  HttpHeaders headers;
  std::string body;  ///< without transfer coding; may hold any bytes
  std::string peer;  ///< the client's address, "127.0.0.1:40312" or "[::1]:40312"

  std::optional<std::string_view> header(std::string_view name) const {
    return find_header(headers, name);
  }
};

/// A whole answer, or the beginning of one. The server adds content-length or transfer-encoding,
/// connection and date by itself; `headers` must not have them.
struct HttpResponse {
  int status = 200;
  HttpHeaders headers = {};
  std::string body = {};
};

/// The error that a server without an `error_body` of its own sends: JSON in the shape of the
/// OpenAI and DeepSeek APIs, `server_error` from 500 on and `invalid_request_error` below. Pure.
HttpResponse http_error(int status, std::string_view message);

}  // namespace lethe::serve
