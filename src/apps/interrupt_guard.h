#pragma once

#include <atomic>

namespace lethe::apps {

/// What the program exits with when Ctrl-C ended it: 128 + SIGINT, as shells count.
inline constexpr int kInterruptedStatus = 130;

/// While it lives, Ctrl-C sets the flag instead of ending the program. One at a time.
class InterruptGuard {
 public:
  enum class Second {
    ends_program,  ///< as if nobody had caught it
    is_ignored,
  };
  explicit InterruptGuard(Second second);
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  static const std::atomic<bool>& flag() noexcept;
  /// Forgets a Ctrl-C that came before now.
  static void clear_flag() noexcept;
};

}  // namespace lethe::apps
