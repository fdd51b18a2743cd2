#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lethe::serve {

/// The target of a request line, taken apart. Both parts stay percent-encoded.
struct HttpTarget {
  std::string path;  ///< begins with '/', or is "*"
  std::string query;
};

/// Accepts "/path?query", "http://host/path?query" (what a proxy is sent) and "*"; nullopt for
/// anything else, and for control characters. A fragment does not belong here and is refused, too.
/// Source: RFC 9112 section 3.2. Pure.
std::optional<HttpTarget> parse_target(std::string_view target);

/// Replaces every %XX by its byte; nullopt where two hex digits do not follow a '%'. '+' stays '+'.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace lethe::serve
