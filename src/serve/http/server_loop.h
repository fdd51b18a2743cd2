#pragma once

#include <chrono>
#include <functional>
#include <memory>

namespace lethe::serve {

/// The server's thread as seen from other threads; hides Asio. It may outlive the server: tasks are
/// then dropped.
class ServerLoop {
 public:
  virtual ~ServerLoop() = default;
  /// Runs `task` on the server's thread, after those posted before. Any thread. `task` must not
  /// throw.
  virtual void post(std::function<void()> task) = 0;
  /// Runs `task` on the server's thread after `delay`, unless the returned object is destroyed
  /// first (a task that is already due may still run). Only on the server's thread, and the object
  /// must be destroyed before the server is.
  virtual std::shared_ptr<void> start_timer(std::chrono::milliseconds delay,
                                            std::function<void()> task) = 0;
};

}  // namespace lethe::serve
