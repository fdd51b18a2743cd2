#include <liburing.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/error.h"
#include "base/read_backend.h"

namespace lethe::internal {

namespace {

constexpr uint64_t kStop = ~uint64_t{0};  // user data of the request that ends the reaper

/// The caller's thread fills the ring's submission side; a thread of its own takes the results off
/// the other side, so that they are noticed, and timed, whatever the caller does meanwhile.
class UringBackend : public ReadBackend {
 public:
  explicit UringBackend(int capacity) : capacity_(capacity) {}
  UringBackend(const UringBackend&) = delete;
  UringBackend& operator=(const UringBackend&) = delete;
  ~UringBackend() override {
    if (reaper_.joinable()) {
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      io_uring_prep_nop(entry);
      io_uring_sqe_set_data64(entry, kStop);
      while (io_uring_submit(&ring_) < 0) std::this_thread::yield();
      reaper_.join();
    }
    if (open_) io_uring_queue_exit(&ring_);
  }

  /// False: no io_uring here, or one that cannot read (before Linux 5.6).
  bool open() {
    if (io_uring_queue_init(static_cast<unsigned>(capacity_) + 1, &ring_, 0) != 0) return false;
    open_ = true;
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    const bool can_read = io_uring_opcode_supported(probe, IORING_OP_READ) != 0;
    io_uring_free_probe(probe);
    if (can_read) reaper_ = std::thread([this] { reap(); });
    return can_read;
  }

  std::string_view name() const noexcept override { return "io_uring"; }
  int capacity() const noexcept override { return capacity_; }

  void start(const ReadRequest& request) override {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    LETHE_CHECK(entry != nullptr, "more reads were started than the ring holds");
    io_uring_prep_read(entry, request.fd, request.into, static_cast<unsigned>(request.size),
                       request.offset);
    io_uring_sqe_set_data64(entry, request.id);
  }

  void flush() override {
    while (io_uring_sq_ready(&ring_) > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted < 0 && !is_transient(submitted)) throw failure(submitted);
    }
  }

  void collect(std::vector<ReadResult>& results, bool wait) override {
    std::unique_lock lock(mutex_);
    if (wait) wake_.wait(lock, [this] { return !ended_.empty() || error_ != 0; });
    if (ended_.empty() && error_ != 0) throw failure(error_);
    results.insert(results.end(), ended_.begin(), ended_.end());
    ended_.clear();
  }

 private:
  static bool is_transient(int status) {
    return status == -EINTR || status == -EAGAIN || status == -EBUSY;
  }
  static IoError failure(int status) {
    return IoError("The system's queue for reading (io_uring) failed: {}.", std::strerror(-status));
  }

  void reap() {
    for (bool stopped = false; !stopped;) {
      io_uring_cqe* entry = nullptr;
      const int status = io_uring_wait_cqe(&ring_, &entry);
      if (is_transient(status)) continue;
      const std::lock_guard lock(mutex_);
      error_ = status;
      stopped = status != 0;
      const auto now = std::chrono::steady_clock::now();
      while (!stopped && io_uring_peek_cqe(&ring_, &entry) == 0) {
        stopped = io_uring_cqe_get_data64(entry) == kStop;
        if (!stopped) ended_.push_back({io_uring_cqe_get_data64(entry), entry->res, now});
        io_uring_cqe_seen(&ring_, entry);
      }
      wake_.notify_one();
    }
  }

  int capacity_;
  bool open_ = false;
  io_uring ring_ = {};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<ReadResult> ended_;
  int error_ = 0;  // the ring gives nothing any more
  std::thread reaper_;
};

}  // namespace

std::unique_ptr<ReadBackend> make_uring_backend(int capacity) {
  auto backend = std::make_unique<UringBackend>(capacity);
  if (!backend->open()) return nullptr;
  return backend;
}

}  // namespace lethe::internal
