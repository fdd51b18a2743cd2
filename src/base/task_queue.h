#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lethe {

/// A few threads that run tasks in the order they came: for work that is too long for a thread that
/// must answer at once, and too short for one of its own. Tasks must not throw. Any thread may
/// post.
class TaskQueue {
 public:
  explicit TaskQueue(int num_threads);
  /// Runs what was posted to its end.
  ~TaskQueue();
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;

  void post(std::function<void()> task);
  /// Tasks that were posted and have not ended.
  size_t pending() const;
  /// Waits until all that was posted has run.
  void wait_until_idle();

 private:
  void work();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  int running_ = 0;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace lethe
