#pragma once

#include <fmt/core.h>

#include <string_view>

namespace lethe::internal {

/// Prints the failed condition and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               std::string_view message);

}  // namespace lethe::internal

/// Aborts with a message when an invariant of ours is broken; never for bad input (throw Error).
/// LETHE_CHECK(cond, "format {}", value): always on. LETHE_DCHECK: only without NDEBUG.
#define LETHE_CHECK(condition, ...)                                                               \
  (static_cast<bool>(condition) ? static_cast<void>(0)                                            \
                                : ::lethe::internal::check_failed(__FILE__, __LINE__, #condition, \
                                                                  ::fmt::format("" __VA_ARGS__)))
#ifdef NDEBUG
#define LETHE_DCHECK(condition, ...) static_cast<void>(0)
#else
#define LETHE_DCHECK(condition, ...) LETHE_CHECK(condition, __VA_ARGS__)
#endif
