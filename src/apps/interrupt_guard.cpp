#include "apps/interrupt_guard.h"

#include <csignal>

namespace lethe::apps {

namespace {

std::atomic<bool> interrupt_flag = false;
std::atomic<bool> second_ends = false;
struct sigaction previous_action;
static_assert(std::atomic<bool>::is_always_lock_free);  // a signal handler may use them

extern "C" void on_interrupt(int) {
  if (interrupt_flag.exchange(true) && second_ends) {
    sigaction(SIGINT, &previous_action, nullptr);
    std::raise(SIGINT);
  }
}

}  // namespace

InterruptGuard::InterruptGuard(Second second) {
  interrupt_flag = false;
  second_ends = second == Second::ends_program;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_action);
  // Ignored from the start, as in a script's background job: stays so.
  if (previous_action.sa_handler == SIG_IGN) sigaction(SIGINT, &previous_action, nullptr);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_action, nullptr);
}

void InterruptGuard::clear_flag() noexcept {
  interrupt_flag = false;
}

const std::atomic<bool>& InterruptGuard::flag() noexcept {
  return interrupt_flag;
}

}  // namespace lethe::apps
