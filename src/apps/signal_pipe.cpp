#include "apps/signal_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace lethe::apps {

namespace {

int pipe_ends[2] = {-1, -1};

extern "C" void on_terminal_signal(int signal) {
  const int saved = errno;
  const auto byte = static_cast<unsigned char>(signal);
  // A full pipe holds news enough.
  [[maybe_unused]] const ssize_t written = ::write(pipe_ends[1], &byte, 1);
  errno = saved;
}

}  // namespace

SignalPipe::SignalPipe() {
  if (::pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    throw IoError("no pipe for signals: too many open files");
  }
  struct sigaction action = {};
  action.sa_handler = on_terminal_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &previous_[i]);
    const bool is_ignored = previous_[i].sa_handler == SIG_IGN;  // nohup
    if (is_ignored) sigaction(kSignals[i], &previous_[i], nullptr);
  }
}

SignalPipe::~SignalPipe() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous_[i], nullptr);
  ::close(pipe_ends[0]);
  ::close(pipe_ends[1]);
}

int SignalPipe::fd() const noexcept {
  return pipe_ends[0];
}

std::optional<int> SignalPipe::take() {
  unsigned char byte = 0;
  if (::read(pipe_ends[0], &byte, 1) != 1) return std::nullopt;
  return byte;
}

}  // namespace lethe::apps
