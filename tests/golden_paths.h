#pragma once

#include <cstdlib>
#include <filesystem>

namespace lethe::testing {

/// Golden data of the tests: $LETHE_GOLDEN (a hold-out set of the same layout) or tests/golden.
inline std::filesystem::path golden_dir() {
  const char* override_dir = std::getenv("LETHE_GOLDEN");
  return override_dir != nullptr ? override_dir : LETHE_GOLDEN_DIR;
}

/// The larger set beside the project. May not exist: GTEST_SKIP then.
inline std::filesystem::path shared_golden_dir() {
  return LETHE_SHARED_GOLDEN_DIR;
}

}  // namespace lethe::testing
