#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lethe::internal {

/// Writes all of `bytes` to `fd`, retrying short and interrupted writes. Throws IoError naming
/// `path`, the reason and how many bytes had been written (`already_written` before this call).
void write_all(int fd, std::span<const std::byte> bytes, const std::string& path,
               uint64_t already_written);

}  // namespace lethe::internal
