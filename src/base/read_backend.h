#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace lethe::internal {

/// One read of an open file; `id` comes back with its result.
struct ReadRequest {
  int fd = -1;
  uint64_t offset = 0;
  std::byte* into = nullptr;
  size_t size = 0;
  uint64_t id = 0;
};

struct ReadResult {
  uint64_t id = 0;
  int64_t result = 0;  ///< bytes read, or a negative errno
  std::chrono::steady_clock::time_point ended = {};
};

/// How DirectReader has the system read: hands over requests, gives back what came of each, in any
/// order. Reads may be short; nothing is retried here. One thread; what is in flight must be
/// collected before the end.
class ReadBackend {
 public:
  virtual ~ReadBackend() = default;
  virtual std::string_view name() const noexcept = 0;
  /// Requests in flight at most.
  virtual int capacity() const noexcept = 0;
  /// Hands over a request; it may wait for flush().
  virtual void start(const ReadRequest& request) = 0;
  /// Lets the system begin with what was started.
  virtual void flush() {}
  /// Appends the results there are; with `wait` at least one, of requests that were flushed.
  virtual void collect(std::vector<ReadResult>& results, bool wait) = 0;
};

/// Reads by io_uring; null where the system has none, or forbids it (containers often do).
std::unique_ptr<ReadBackend> make_uring_backend(int capacity);

/// Reads by pread on a few threads.
std::unique_ptr<ReadBackend> make_thread_backend(int num_threads, int capacity);

}  // namespace lethe::internal
