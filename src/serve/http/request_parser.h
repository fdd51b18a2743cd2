#pragma once

// Includes Boost, so only files that must may include this.

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/system/error_code.hpp>
#include <optional>
#include <string>

#include "serve/http/http_message.h"
#include "serve/http/http_server.h"

namespace lethe::serve {

using RequestParser = boost::beast::http::request_parser<boost::beast::http::string_body>;

/// What the transport itself has to say to a client. Status 0: nothing, the client is gone.
struct HttpRefusal {
  int status = 0;
  std::string message = {};
};

/// For an error that ended the reading of a request.
HttpRefusal refusal_for(boost::system::error_code error, const RequestParser& parser,
                        const HttpServerOptions& options);

/// For headers that are well-formed, but ask for what this server does not do, or leave open where
/// the body ends; nullopt if they are in order.
std::optional<HttpRefusal> header_refusal(const RequestParser& parser);

/// The request without its body, as far as a parser has read it.
HttpRequest request_head(const RequestParser& parser, const std::string& peer);

/// The request, out of a parser that has read all of it.
HttpRequest take_request(RequestParser& parser, const std::string& peer);

}  // namespace lethe::serve
