#pragma once

#include <cstdint>

namespace lethe {

/// Memory in bytes that this process may come to use: the machine's, or less where a control group
/// or RLIMIT_AS limits it. Read anew on every call; never 0.
int64_t usable_memory_bytes();

}  // namespace lethe
