#include "base/sigbus_guard.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/check.h"
#include "base/error.h"

namespace lethe::internal {

namespace {

/// A slot is free while `end` is 0, claimed while end == 1, and watched otherwise. The handler
/// reads begin and message only after it saw the `end` that was stored last.
struct Slot {
  std::atomic<uintptr_t> end{0};
  std::atomic<uintptr_t> begin{0};
  std::atomic<const char*> message{nullptr};
  std::atomic<size_t> message_size{0};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free);

constexpr uintptr_t kClaimed = 1;
std::array<Slot, SigbusGuard::kSlots> g_slots;

std::mutex g_install_mutex;
size_t g_live_guards = 0;
struct sigaction g_former;  // written only while our handler is not installed

void write_to_stderr(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(STDERR_FILENO, text, size);
    if (n <= 0) return;
    text += n;
    size -= static_cast<size_t>(n);
  }
}

void call_former(int signal_number, siginfo_t* info, void* context) {
  if ((g_former.sa_flags & SA_SIGINFO) != 0) {
    g_former.sa_sigaction(signal_number, info, context);
  } else if (g_former.sa_handler == SIG_DFL || g_former.sa_handler == SIG_IGN) {
    // The faulting instruction runs again and meets the default action.
    struct sigaction fallback = {};
    fallback.sa_handler = SIG_DFL;
    ::sigaction(SIGBUS, &fallback, nullptr);
    if (info->si_code <= 0) ::raise(signal_number);  // sent by kill(): nothing will fault again
  } else {
    g_former.sa_handler(signal_number);
  }
}

void on_sigbus(int signal_number, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Slot& slot : g_slots) {
    const uintptr_t end = slot.end.load(std::memory_order_acquire);
    if (end <= kClaimed || info->si_code <= 0) continue;
    if (address < slot.begin.load(std::memory_order_relaxed) || address >= end) continue;
    write_to_stderr(slot.message.load(std::memory_order_relaxed),
                    slot.message_size.load(std::memory_order_relaxed));
    ::_exit(1);
  }
  call_former(signal_number, info, context);
}

void install_handler() {
  const std::lock_guard lock(g_install_mutex);
  if (g_live_guards++ > 0) return;
  struct sigaction current = {};
  ::sigaction(SIGBUS, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == &on_sigbus) return;
  g_former = current;
  struct sigaction ours = {};
  ours.sa_sigaction = &on_sigbus;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  ::sigaction(SIGBUS, &ours, nullptr);
}

void uninstall_handler() {
  const std::lock_guard lock(g_install_mutex);
  if (--g_live_guards > 0) return;
  struct sigaction current = {};
  ::sigaction(SIGBUS, nullptr, &current);
  // Somebody may have put a handler above ours that chains to it: leave that alone.
  if ((current.sa_flags & SA_SIGINFO) == 0 || current.sa_sigaction != &on_sigbus) return;
  ::sigaction(SIGBUS, &g_former, nullptr);
}

}  // namespace

SigbusGuard::SigbusGuard(const void* begin, size_t size, std::string message)
    : message_(std::move(message)) {
  LETHE_CHECK(size > 0);
  for (; slot_ < kSlots; ++slot_) {
    uintptr_t expected = 0;
    if (g_slots[slot_].end.compare_exchange_strong(expected, kClaimed)) break;
  }
  if (slot_ == kSlots) {
    throw LoadError("More than {} files are mapped at once; merge the shards into fewer files.",
                    kSlots);
  }
  install_handler();
  Slot& slot = g_slots[slot_];
  const auto address = reinterpret_cast<uintptr_t>(begin);
  slot.begin.store(address, std::memory_order_relaxed);
  slot.message.store(message_.data(), std::memory_order_relaxed);
  slot.message_size.store(message_.size(), std::memory_order_relaxed);
  slot.end.store(address + size, std::memory_order_release);
}

SigbusGuard::~SigbusGuard() {
  g_slots[slot_].end.store(0, std::memory_order_release);
  uninstall_handler();
}

}  // namespace lethe::internal
