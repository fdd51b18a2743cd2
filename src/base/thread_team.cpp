#include "base/thread_team.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace lethe {

namespace {

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void relax_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waits a little for `ready` without sleeping: regions follow each other within microseconds, and
/// waking a thread that sleeps costs more than most of them. From half the time on the core is
/// offered to others. Returns ready().
template <typename Ready>
bool spin_until(Ready ready) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::microseconds(50);
  constexpr int kChecksPerLook = 32;  // at the clock
  const auto begin = Clock::now();
  for (;;) {
    for (int i = 0; i < kChecksPerLook; ++i) {
      if (ready()) return true;
      relax_cpu();
    }
    const auto waited = Clock::now() - begin;
    if (waited > kPatience) return ready();
    if (waited > kPatience / 2) std::this_thread::yield();
  }
}

}  // namespace

/// A region: `part` is set, `running` counts the workers, then `generation` moves on, which starts
/// them. Waiting threads first watch the atomics, then sleep on a condition; whoever changes what a
/// sleeper waits for holds the mutex at some time after the change and before it notifies.
struct ThreadTeam::Impl {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  const std::function<void(int)>* part = nullptr;  // null between regions
  std::atomic<uint64_t> generation{0};
  std::atomic<int> running{0};
  std::atomic<bool> stopping{false};
  int sleepers = 0;  // under the mutex
  bool spins = false;
  std::exception_ptr failure;
  std::vector<std::jthread> workers;  // last: joined before the rest goes

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
  }

  void call(int index, const std::function<void(int)>& work) {
    try {
      work(index);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  void wait_for_work(uint64_t seen) {
    const auto ready = [&] { return stopping.load() || generation.load() != seen; };
    if (spins && spin_until(ready)) return;
    std::unique_lock lock(mutex);
    ++sleepers;
    wake.wait(lock, ready);
    --sleepers;
  }

  void work_loop(int index) {
    for (uint64_t seen = 0;; ++seen) {
      wait_for_work(seen);
      if (stopping) return;
      call(index, *part);
      if (running.fetch_sub(1) == 1) {
        { std::lock_guard lock(mutex); }
        done.notify_one();
      }
    }
  }

  void start(const std::function<void(int)>& work) {
    bool asleep = false;
    {
      std::lock_guard lock(mutex);
      LETHE_CHECK(part == nullptr, "ThreadTeam regions do not nest");
      part = &work;
      running = static_cast<int>(workers.size());
      failure = nullptr;
      ++generation;
      asleep = sleepers > 0;
    }
    if (asleep) wake.notify_all();
  }

  void wait_for_workers() {
    const auto ready = [&] { return running.load() == 0; };
    if (spins && spin_until(ready)) return;
    std::unique_lock lock(mutex);
    done.wait(lock, ready);
  }
};

ThreadTeam::ThreadTeam(int num_threads) : impl_(std::make_unique<Impl>()) {
  LETHE_CHECK(num_threads >= 0);
  const int size = num_threads == 0 ? available_cpus() : num_threads;
  impl_->workers.reserve(static_cast<size_t>(size - 1));
  impl_->spins = size <= available_cpus();
  try {
    for (int i = 1; i < size; ++i) {
      impl_->workers.emplace_back([impl = impl_.get(), i] { impl->work_loop(i); });
    }
  } catch (const std::system_error& error) {
    throw Error("Cannot start {} compute threads: number {} failed ({}). Ask for fewer threads.",
                size, impl_->workers.size() + 2, error.code().message());
  }
}

ThreadTeam::~ThreadTeam() = default;

int ThreadTeam::size() const noexcept {
  return static_cast<int>(impl_->workers.size()) + 1;
}

void ThreadTeam::run(const std::function<void(int)>& part) {
  if (size() == 1) {
    part(0);
    return;
  }
  impl_->start(part);
  impl_->call(0, part);
  impl_->wait_for_workers();
  impl_->part = nullptr;
  if (impl_->failure) std::rethrow_exception(std::exchange(impl_->failure, nullptr));
}

void ThreadTeam::parallel_for(int64_t n, int64_t grain,
                              const std::function<void(int64_t, int64_t)>& body) {
  LETHE_CHECK(grain >= 1);
  if (n <= 0) return;
  if (n <= grain || size() == 1) {
    body(0, n);
    return;
  }
  std::atomic<int64_t> next{0};
  run([&](int) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) return;
      body(begin, std::min(begin + grain, n));
    }
  });
}

}  // namespace lethe
