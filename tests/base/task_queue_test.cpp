#include "base/task_queue.h"

#include <gtest/gtest.h>

#include <atomic>

namespace lethe {
namespace {

TEST(TaskQueue, OneThreadRunsTasksInTheirOrder) {
  std::vector<int> order;
  TaskQueue queue(1);
  for (int i = 0; i < 100; ++i) queue.post([&order, i] { order.push_back(i); });
  queue.wait_until_idle();
  ASSERT_EQ(order.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_EQ(queue.pending(), 0U);
}

TEST(TaskQueue, CountsWhatHasNotEnded) {
  std::mutex gate;
  std::unique_lock closed(gate);
  TaskQueue queue(2);
  for (int i = 0; i < 5; ++i) queue.post([&gate] { const std::lock_guard pass(gate); });
  EXPECT_EQ(queue.pending(), 5U);
  closed.unlock();
  queue.wait_until_idle();
  EXPECT_EQ(queue.pending(), 0U);
}

TEST(TaskQueue, EndsWhatWasPosted) {
  std::atomic<int> done = 0;
  {
    TaskQueue queue(3);
    for (int i = 0; i < 50; ++i) {
      queue.post([&queue, &done] { queue.post([&done] { ++done; }); });
    }
    queue.wait_until_idle();
  }
  EXPECT_EQ(done, 50);
}

}  // namespace
}  // namespace lethe
