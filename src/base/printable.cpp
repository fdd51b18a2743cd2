#include "base/printable.h"

#include <fmt/core.h>

namespace lethe {

std::string printable(std::string_view text, size_t max_bytes) {
  std::string shown;
  for (const char c : text.substr(0, max_bytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      shown.push_back(c);
    } else {
      shown += fmt::format("\\x{:02x}", byte);
    }
  }
  if (text.size() > max_bytes) shown += "...";
  return shown;
}

}  // namespace lethe
