#pragma once

#include <string>
#include <string_view>

namespace lethe {

/// Text of a file as it may be shown in a message: everything but printable ASCII becomes \xNN (no
/// terminal sequences, no broken UTF-8), and after `max_bytes` it ends with "...".
std::string printable(std::string_view text, size_t max_bytes = 120);

}  // namespace lethe
