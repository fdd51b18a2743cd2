#include "serve/http/request_parser.h"

#include <fmt/format.h>

#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <utility>

#include "base/check.h"
#include "serve/http/http_target.h"

namespace lethe::serve {

namespace http = boost::beast::http;

HttpRefusal refusal_for(boost::system::error_code error, const RequestParser& parser,
                        const HttpServerOptions& options) {
  if (error == http::error::body_limit) {
    return {413, fmt::format("The request's body is larger than {} bytes, which is this server's "
                             "limit. Send less.",
                             options.max_body_bytes)};
  }
  if (error == http::error::header_limit ||
      (error == http::error::buffer_overflow && !parser.is_header_done())) {
    return {431, fmt::format("The request line and headers are larger than {} bytes, which is this "
                             "server's limit. Send less.",
                             options.max_header_bytes)};
  }
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error.category() != make_error_code(http::error::bad_method).category()) {
    return {};  // the client has left
  }
  return {400, fmt::format("The request is not HTTP/1.1: {}.", error.message())};
}

std::optional<HttpRefusal> header_refusal(const RequestParser& parser) {
  const auto& message = parser.get();
  // Whatever else a coding may be called, we could not tell where the body ends.
  if (message.count(http::field::transfer_encoding) > 0 &&
      !(message.count(http::field::transfer_encoding) == 1 &&
        boost::beast::iequals(message[http::field::transfer_encoding], "chunked"))) {
    return HttpRefusal{501, "The only transfer coding that this server knows is \"chunked\"."};
  }
  if (message.count(http::field::expect) > 0 &&
      !boost::beast::iequals(message[http::field::expect], "100-continue")) {
    return HttpRefusal{417, "The only expectation that this server meets is \"100-continue\"."};
  }
  if (message.version() >= 11 && message.count(http::field::host) != 1) {
    return HttpRefusal{400, "A request of HTTP/1.1 needs exactly one Host header."};
  }
  const auto target = message.target();
  if (!parse_target({target.data(), target.size()})) {
    return HttpRefusal{400, "The request's target must be a path that begins with \"/\"."};
  }
  return std::nullopt;
}

HttpRequest request_head(const RequestParser& parser, const std::string& peer) {
  const auto& message = parser.get();
  const auto target = message.target();
  auto parts = parse_target({target.data(), target.size()});
  LETHE_CHECK(parts, "header_refusal() has seen the target");
  HttpRequest request{.method = std::string(message.method_string()),
                      .path = std::move(parts->path),
                      .query = std::move(parts->query),
                      .headers = {},
                      .body = {},
                      .peer = peer};
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  return request;
}

HttpRequest take_request(RequestParser& parser, const std::string& peer) {
  HttpRequest request = request_head(parser, peer);
  request.body = std::move(parser.get().body());
  return request;
}

}  // namespace lethe::serve
