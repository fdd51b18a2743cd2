#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "serve/http/http_target.h"

/// What is accepted is a path and a query that make up the end of the target, byte for byte.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto target = lethe::serve::parse_target(text)) {
    LETHE_CHECK(target->path == "*" || target->path.starts_with('/'));
    LETHE_CHECK(target->path.find_first_of("? \r\n") == std::string::npos);
    LETHE_CHECK(text.ends_with(target->query));
    if (text.starts_with('/')) {
      LETHE_CHECK(target->path == text.substr(0, target->path.size()));
      const size_t mark = target->path.size() == text.size() ? 0 : 1;
      LETHE_CHECK(target->path.size() + mark + target->query.size() == text.size());
    }
  }
  if (const auto decoded = lethe::serve::percent_decode(text)) {
    const auto escapes = static_cast<size_t>(std::count(text.begin(), text.end(), '%'));
    LETHE_CHECK(decoded->size() + 2 * escapes == text.size());
  }
  return 0;
}
