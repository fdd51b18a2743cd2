#include "apps/units.h"

#include <fmt/core.h>

namespace lethe::apps {

std::string bytes_text(double bytes) {
  if (bytes == 0) return "-";
  if (bytes < 1e4) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6) return fmt::format("{:.1f} kB", bytes * 1e-3);
  if (bytes < 1e9) return fmt::format("{:.2f} MB", bytes * 1e-6);
  return fmt::format("{:.2f} GB", bytes * 1e-9);
}

std::string bytes_text(int64_t bytes) {
  return bytes_text(static_cast<double>(bytes));
}

std::string parameters_text(int64_t parameters) {
  const auto n = static_cast<double>(parameters);
  return n < 1e8 ? fmt::format("{:.2f} M", n * 1e-6) : fmt::format("{:.2f} B", n * 1e-9);
}

}  // namespace lethe::apps
