#pragma once

#include <cstddef>
#include <string>

namespace lethe::internal {

/// Watches one mapped range: while a guard lives, a SIGBUS whose address lies inside its range
/// writes the guard's message to stderr and ends the process with status 1. Other SIGBUS keep the
/// handling they had before the first guard.
///
/// The handler takes no lock and allocates nothing: it scans a fixed table of atomic slots. Any
/// thread; the range must not be read while its guard is destroyed.
class SigbusGuard {
 public:
  /// Throws LoadError if the table (kSlots ranges) is full.
  SigbusGuard(const void* begin, size_t size, std::string message);
  ~SigbusGuard();
  SigbusGuard(const SigbusGuard&) = delete;
  SigbusGuard& operator=(const SigbusGuard&) = delete;

  static constexpr size_t kSlots = 4096;

 private:
  std::string message_;
  size_t slot_ = 0;
};

}  // namespace lethe::internal
