#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "base/read_backend.h"
#include "base/task_queue.h"

namespace lethe::internal {

namespace {

class ThreadBackend : public ReadBackend {
 public:
  ThreadBackend(int num_threads, int capacity) : capacity_(capacity), threads_(num_threads) {}

  std::string_view name() const noexcept override { return "threads"; }
  int capacity() const noexcept override { return capacity_; }

  void start(const ReadRequest& request) override {
    threads_.post([this, request] {
      const ssize_t n =
          ::pread(request.fd, request.into, request.size, static_cast<off_t>(request.offset));
      const int64_t result = n < 0 ? -int64_t{errno} : n;
      const std::lock_guard lock(mutex_);
      ended_.push_back({request.id, result, std::chrono::steady_clock::now()});
      wake_.notify_one();
    });
  }

  void collect(std::vector<ReadResult>& results, bool wait) override {
    std::unique_lock lock(mutex_);
    if (wait) wake_.wait(lock, [this] { return !ended_.empty(); });
    results.insert(results.end(), ended_.begin(), ended_.end());
    ended_.clear();
  }

 private:
  int capacity_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<ReadResult> ended_;
  TaskQueue threads_;  // last: it ends before what its tasks use
};

}  // namespace

std::unique_ptr<ReadBackend> make_thread_backend(int num_threads, int capacity) {
  return std::make_unique<ThreadBackend>(num_threads, capacity);
}

}  // namespace lethe::internal
