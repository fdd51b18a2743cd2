#pragma once

#include <cstdint>
#include <string>

namespace lethe::apps {

/// A size as tables show it: "1.50 GB" (decimal units), "-" for 0.
std::string bytes_text(double bytes);
std::string bytes_text(int64_t bytes);
/// "1.60 B", "13.00 M".
std::string parameters_text(int64_t parameters);

}  // namespace lethe::apps
