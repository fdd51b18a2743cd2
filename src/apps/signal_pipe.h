#pragma once

#include <array>
#include <csignal>
#include <optional>

namespace lethe::apps {

/// While it lives, the signals of a terminal (interrupt, window size, continue, hang-up,
/// termination) become readable numbers on a pipe, whichever thread they reach. One at a time.
class SignalPipe {
 public:
  SignalPipe();
  ~SignalPipe();
  SignalPipe(const SignalPipe&) = delete;
  SignalPipe& operator=(const SignalPipe&) = delete;

  /// For poll().
  int fd() const noexcept;
  /// The next signal, if one came.
  std::optional<int> take();

 private:
  static constexpr std::array kSignals = {SIGINT, SIGWINCH, SIGCONT, SIGHUP, SIGTERM};
  std::array<struct sigaction, kSignals.size()> previous_ = {};
};

}  // namespace lethe::apps
