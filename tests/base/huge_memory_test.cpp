#include "base/huge_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/machine_topology.h"

namespace lethe {
namespace {

TEST(HugeMemory, BeginsOnAHugePageAndHoldsWhatIsWritten) {
  const size_t size = HugeMemory::kPageBytes + 12'345;
  HugeMemory memory(size);
  ASSERT_EQ(memory.bytes().size(), size);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.bytes().data()) % HugeMemory::kPageBytes, 0U);
  EXPECT_TRUE(std::ranges::all_of(memory.bytes(), [](std::byte b) { return b == std::byte{0}; }));
  std::ranges::fill(memory.bytes(), std::byte{7});
  const std::byte* const where = memory.bytes().data();
  HugeMemory moved = std::move(memory);
  EXPECT_EQ(moved.bytes().data(), where);
  EXPECT_EQ(moved.bytes().back(), std::byte{7});
}

TEST(HugeMemory, MoreThanTheAddressSpaceIsRefused) {
  EXPECT_THROW(HugeMemory(std::numeric_limits<size_t>::max() / 4), Error);
}

TEST(HugeMemory, IsSpreadOnlyWhereThereAreSeveralNodes) {
  const HugeMemory memory(HugeMemory::kPageBytes);
  if (memory_nodes().size() == 1) {
    EXPECT_FALSE(memory.interleave());
  }
  EXPECT_FALSE(HugeMemory().interleave());
  memory.bytes()[0] = std::byte{1};  // whatever was decided, it works
  EXPECT_EQ(memory.bytes()[0], std::byte{1});
}

TEST(HugeMemory, APartPrefersANode) {
  const HugeMemory memory(2 * HugeMemory::kPageBytes);
  const int there = memory_nodes().front();
  // Refused or not, the memory works.
  static_cast<void>(memory.prefer_node(HugeMemory::kPageBytes, HugeMemory::kPageBytes, there));
  EXPECT_FALSE(
      memory.prefer_node(0, HugeMemory::kPageBytes, 1000));  // there is none of that number
  std::ranges::fill(memory.bytes(), std::byte{5});
  EXPECT_EQ(memory.bytes().back(), std::byte{5});
}

}  // namespace
}  // namespace lethe
