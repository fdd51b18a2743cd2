#include "base/system_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace lethe {
namespace {

TEST(SystemMemory, IsWhatTheMachineHasAtMost) {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  EXPECT_GT(usable_memory_bytes(), int64_t{1} << 20);
  EXPECT_LE(usable_memory_bytes(), machine);
}

TEST(SystemMemory, HeedsTheLimitOfTheAddressSpace) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own address space is past any limit";
#endif
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const int64_t usable = usable_memory_bytes();
  rlimit smaller = before;
  smaller.rlim_cur = static_cast<rlim_t>(usable / 2);
  if (setrlimit(RLIMIT_AS, &smaller) != 0) GTEST_SKIP() << "the limit cannot be set here";
  rlimit shown{};
  getrlimit(RLIMIT_AS, &shown);  // an emulator takes it and keeps it to itself
  const int64_t limited = usable_memory_bytes();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  if (shown.rlim_cur != smaller.rlim_cur) GTEST_SKIP() << "the limit has no effect here";
  EXPECT_EQ(limited, usable / 2);
}

}  // namespace
}  // namespace lethe
