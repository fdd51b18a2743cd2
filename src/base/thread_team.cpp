#include "base/thread_team.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/machine_topology.h"

namespace lethe {

namespace {

/// CPUs that this process can keep busy: those it may run on, or fewer by its quota.
int busy_cpus(const UsableCpus& usable) {
  const int count = static_cast<int>(usable.cpus.size());
  const std::optional<double> quota = cpu_quota();
  return quota && *quota < count ? static_cast<int>(std::ceil(*quota)) : count;
}

/// False if the system does not let the calling thread be there.
bool move_to_cpu(int cpu) {
  cpu_set_t* set = CPU_ALLOC(cpu + 1);
  if (set == nullptr) return false;
  const size_t size = CPU_ALLOC_SIZE(cpu + 1);
  CPU_ZERO_S(size, set);
  CPU_SET_S(cpu, size, set);
  const bool moved = sched_setaffinity(0, size, set) == 0;
  CPU_FREE(set);
  return moved;
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

/// A region is open from start() until close(); workers that come in time enter it and are counted,
/// and the caller waits for those to leave. Where the work is handed out piece by piece, the caller
/// closes the region once nothing is left to hand out: a worker that has not come by then (its core
/// does something else) is not waited for. Where every worker has a part of its own, the caller
/// waits for all of them first.
///
/// Waiting threads first watch the atomics, then sleep on a condition; whoever changes what a
/// sleeper waits for holds the mutex at some time after the change and before it notifies.
struct ThreadTeam::Impl {
  // `gate` in bits: number of the region, whether it is closed, workers that entered it.
  static constexpr uint64_t kEntered = (uint64_t{1} << 16) - 1;
  static constexpr uint64_t kClosed = uint64_t{1} << 16;
  static constexpr int kRegionShift = 17;

  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  const FunctionRef<void(int)>* part = nullptr;  // null between regions
  std::atomic<uint64_t> gate{kClosed};
  std::atomic<uint64_t> left{0};  // workers that have left the region
  std::atomic<bool> stopping{false};
  int sleepers = 0;  // under the mutex
  bool spins = false;
  bool pinned = false;
  std::exception_ptr failure;
  std::vector<std::jthread> workers;  // last: joined before the rest goes

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      stopping = true;
    }
    wake.notify_all();
  }

  uint64_t region() const { return gate.load() >> kRegionShift; }

  void call(int index, FunctionRef<void(int)> work) {
    try {
      work(index);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  void wait_for_work(uint64_t seen) {
    const auto ready = [&] { return stopping.load() || region() != seen; };
    if (spins && spin_until(ready)) return;
    std::unique_lock lock(mutex);
    ++sleepers;
    wake.wait(lock, ready);
    --sleepers;
  }

  /// False if the present region is closed. `seen` becomes its number.
  bool enter(uint64_t& seen) {
    uint64_t state = gate.load();
    do {
      seen = state >> kRegionShift;
      if ((state & kClosed) != 0) return false;
    } while (!gate.compare_exchange_weak(state, state + 1));
    return true;
  }

  void leave() {
    const uint64_t now_left = left.fetch_add(1) + 1;
    // Not closed yet: the caller will look for itself, unless it waits for all.
    const uint64_t state = gate.load();
    const uint64_t awaited = (state & kClosed) != 0 ? state & kEntered : workers.size();
    if (now_left != awaited) return;
    { std::lock_guard lock(mutex); }
    done.notify_one();
  }

  void work_loop(int index) {
    for (uint64_t seen = 0;;) {
      wait_for_work(seen);
      if (stopping) return;
      if (!enter(seen)) continue;
      call(index, *part);
      leave();
    }
  }

  void start(const FunctionRef<void(int)>& work) {
    bool asleep = false;
    {
      std::lock_guard lock(mutex);
      LETHE_CHECK(part == nullptr, "ThreadTeam regions do not nest");
      part = &work;
      left = 0;
      failure = nullptr;
      gate = (region() + 1) << kRegionShift;
      asleep = sleepers > 0;
    }
    if (asleep) wake.notify_all();
  }

  void wait_until_left(uint64_t count) {
    const auto ready = [&] { return left.load() == count; };
    if (spins && spin_until(ready)) return;
    std::unique_lock lock(mutex);
    done.wait(lock, ready);
  }

  /// The caller is member 0 of the region. `all`: every worker has to come.
  void run_region(FunctionRef<void(int)> work, bool all) {
    start(work);
    call(0, work);
    if (all) wait_until_left(workers.size());
    const uint64_t entered = gate.fetch_or(kClosed) & kEntered;
    wait_until_left(entered);
    part = nullptr;
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
};

ThreadTeam::ThreadTeam(int num_threads, Pinning pinning) : impl_(std::make_unique<Impl>()) {
  LETHE_CHECK(num_threads >= 0);
  const UsableCpus usable = usable_cpus();
  const int size = num_threads == 0 ? default_compute_threads() : num_threads;
  impl_->workers.reserve(static_cast<size_t>(size - 1));
  impl_->spins = size <= busy_cpus(usable);
  impl_->pinned = pinning == Pinning::cores && static_cast<size_t>(size) <= usable.cpus.size();
  try {
    for (int i = 1; i < size; ++i) {
      const int cpu = impl_->pinned ? usable.cpus[static_cast<size_t>(i)] : -1;
      impl_->workers.emplace_back([impl = impl_.get(), i, cpu] {
        if (cpu >= 0) static_cast<void>(move_to_cpu(cpu));  // a wish: it computes anywhere
        impl->work_loop(i);
      });
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

bool ThreadTeam::is_pinned() const noexcept {
  return impl_->pinned;
}

void ThreadTeam::run(FunctionRef<void(int)> part) {
  if (size() == 1) {
    part(0);
    return;
  }
  impl_->run_region(part, true);
}

void ThreadTeam::parallel_for(int64_t n, int64_t grain, FunctionRef<void(int64_t, int64_t)> body) {
  LETHE_CHECK(grain >= 1);
  if (n <= 0) return;
  if (n <= grain || size() == 1) {
    body(0, n);
    return;
  }
  std::atomic<int64_t> next{0};
  const auto work = [&](int) {
    for (;;) {
      const int64_t begin = next.fetch_add(grain, std::memory_order_relaxed);
      if (begin >= n) return;
      body(begin, std::min(begin + grain, n));
    }
  };
  impl_->run_region(work, false);
}

}  // namespace lethe
