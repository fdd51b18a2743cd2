#include "serve/http/http_target.h"

#include <algorithm>

namespace lethe::serve {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool may_stand_in_target(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte > ' ' && byte != 0x7f && c != '#';
}

// "http://host:1/path" -> "/path", "http://host?x" -> "?x".
std::string_view without_authority(std::string_view target) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    target.remove_prefix(scheme.size());
    target.remove_prefix(std::min(target.find_first_of("/?"), target.size()));
    return target;
  }
  return target;
}

}  // namespace

std::optional<HttpTarget> parse_target(std::string_view target) {
  if (target.empty() || !std::all_of(target.begin(), target.end(), may_stand_in_target)) {
    return std::nullopt;
  }
  if (target == "*") return HttpTarget{.path = "*", .query = ""};
  const std::string_view rest = without_authority(target);
  const bool absolute = rest.size() != target.size();
  const size_t mark = std::min(rest.find('?'), rest.size());
  std::string path(rest.substr(0, mark));
  if (path.empty() && absolute) path.push_back('/');
  if (!path.starts_with('/')) return std::nullopt;
  return HttpTarget{.path = std::move(path),
                    .query = std::string(rest.substr(std::min(mark + 1, rest.size())))};
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

}  // namespace lethe::serve
