#pragma once

#include <cstdint>

namespace lethe {

/// Memory in bytes that this process may come to use: the machine's, or less where a control group
/// or RLIMIT_AS limits it. Read anew on every call; never 0.
int64_t usable_memory_bytes();

/// Of that, what is free now or can be freed by dropping pages of files. Read anew on every call;
/// never 0.
int64_t available_memory_bytes();

/// What RLIMIT_AS leaves for further mappings, bytes; the largest int64_t if it is not set. Mapped
/// files count in it, whether memory holds them or not.
int64_t address_space_left_bytes();

}  // namespace lethe
