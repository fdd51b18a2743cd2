#include "base/thread_team.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
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

}  // namespace

struct ThreadTeam::Impl {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  const std::function<void(int)>* part = nullptr;
  uint64_t generation = 0;
  int running = 0;
  bool stopping = false;
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

  void work_loop(int index) {
    uint64_t seen = 0;
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping) return;
      seen = generation;
      const std::function<void(int)>& work = *part;
      lock.unlock();
      call(index, work);
      lock.lock();
      if (--running == 0) done.notify_one();
    }
  }
};

ThreadTeam::ThreadTeam(int num_threads) : impl_(std::make_unique<Impl>()) {
  LETHE_CHECK(num_threads >= 0);
  const int size = num_threads == 0 ? available_cpus() : num_threads;
  impl_->workers.reserve(static_cast<size_t>(size - 1));
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
  {
    std::lock_guard lock(impl_->mutex);
    LETHE_CHECK(impl_->running == 0, "ThreadTeam regions do not nest");
    impl_->part = &part;
    impl_->running = size() - 1;
    impl_->failure = nullptr;
    ++impl_->generation;
  }
  impl_->wake.notify_all();
  impl_->call(0, part);
  std::unique_lock lock(impl_->mutex);
  impl_->done.wait(lock, [&] { return impl_->running == 0; });
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
