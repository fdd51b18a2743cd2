#include "base/recycled_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

namespace lethe {
namespace {

/// Begins and ends with nothing kept.
class RecycledMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { RecycledMemory::release(); }
  void TearDown() override { RecycledMemory::release(); }

  /// Takes so many blocks at once, and gives them back.
  static void use(int count, size_t bytes) {
    std::vector<void*> blocks;
    for (int i = 0; i < count; ++i) blocks.push_back(RecycledMemory::take(bytes));
    for (void* const block : blocks) RecycledMemory::give(block, bytes);
  }
};

TEST_F(RecycledMemoryTest, ABlockServesTheNextRequestOfAboutItsSize) {
  void* const block = RecycledMemory::take(1000);
  EXPECT_EQ(RecycledMemory::kept_bytes(), 0U);
  RecycledMemory::give(block, 1000);
  EXPECT_EQ(RecycledMemory::kept_bytes(), 1024U);
  void* const other = RecycledMemory::take(1025);
  EXPECT_NE(other, block);
  void* const again = RecycledMemory::take(513);
  EXPECT_EQ(again, block);
  EXPECT_EQ(RecycledMemory::kept_bytes(), 0U);
  RecycledMemory::give(again, 513);
  RecycledMemory::give(other, 1025);
}

TEST_F(RecycledMemoryTest, AllOfABlockCanBeWritten) {
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{64}, size_t{65}, size_t{4096},
                             RecycledMemory::kLargestBlock, RecycledMemory::kLargestBlock + 1}) {
    for (int round = 0; round < 2; ++round) {
      void* const block = RecycledMemory::take(bytes);
      std::memset(block, 0xff, bytes);
      RecycledMemory::give(block, bytes);
    }
  }
  RecycledMemory::give(nullptr, 10);
}

TEST_F(RecycledMemoryTest, NoMoreIsKeptThanTheBound) {
  use(1, RecycledMemory::kLargestBlock + 1);
  EXPECT_EQ(RecycledMemory::kept_bytes(), 0U);
  use(20, RecycledMemory::kLargestBlock);
  EXPECT_EQ(RecycledMemory::kept_bytes(), RecycledMemory::kMostKept);
  use(300, size_t{1} << 20);
  EXPECT_LE(RecycledMemory::kept_bytes(), RecycledMemory::kMostKept);
}

TEST_F(RecycledMemoryTest, SmallBlocksAreKeptWhereLargeOnesWere) {
  use(20, RecycledMemory::kLargestBlock);
  void* const small = RecycledMemory::take(100);
  RecycledMemory::give(small, 100);
  EXPECT_LE(RecycledMemory::kept_bytes(), RecycledMemory::kMostKept);
  void* const again = RecycledMemory::take(100);
  EXPECT_EQ(again, small);
  RecycledMemory::give(again, 100);
}

TEST_F(RecycledMemoryTest, WhoGivesABlockKeepsIt) {
  void* const block = RecycledMemory::take(1 << 16);
  std::thread other([&] {
    RecycledMemory::give(block, 1 << 16);
    EXPECT_EQ(RecycledMemory::kept_bytes(), size_t{1} << 16);
    void* const again = RecycledMemory::take(1 << 16);
    EXPECT_EQ(again, block);
    RecycledMemory::give(again, 1 << 16);
  });
  other.join();
  EXPECT_EQ(RecycledMemory::kept_bytes(), 0U);
}

/// Ends with its thread, after what the thread keeps has ended if it was made before.
struct Late {
  RecycledVector<int> values;
};

TEST_F(RecycledMemoryTest, WhatOutlivesAThreadsBlocksEndsToo) {
  std::thread thread([] {
    thread_local Late late;
    late.values.resize(1000, 3);
    EXPECT_EQ(late.values.back(), 3);
  });
  thread.join();
}

TEST_F(RecycledMemoryTest, ANewVectorHoldsZeros) {
  { const RecycledVector<float> used(1000, 7.0f); }
  const RecycledVector<float> values(1000);
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 0; }));
}

TEST_F(RecycledMemoryTest, ANewArrayHoldsZerosAndACopyItsValues) {
  {
    RecycledArray<float> used(1000);
    std::ranges::fill(used, 7.0f);
  }
  RecycledArray<float> values(1000);
  EXPECT_TRUE(std::ranges::all_of(values, [](float value) { return value == 0; }));
  values.data()[999] = 5;
  RecycledArray<float> copy = values;
  EXPECT_NE(copy.data(), values.data());
  EXPECT_EQ(copy.data()[999], 5);
  const float* const where = copy.data();
  const RecycledArray<float> moved = std::move(copy);
  EXPECT_EQ(moved.data(), where);
  values = RecycledArray<float>();
  EXPECT_EQ(values.size(), 0U);
  EXPECT_EQ(RecycledArray<float>(values).size(), 0U);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(RecycledMemoryTest, UseAfterFreeIsFound) {
  auto* const block = static_cast<volatile char*>(RecycledMemory::take(100));
  EXPECT_DEATH(block[100] = 1, "AddressSanitizer");
  RecycledMemory::give(const_cast<char*>(block), 100);
  EXPECT_DEATH(block[50] = 1, "AddressSanitizer");
}
#endif

}  // namespace
}  // namespace lethe
