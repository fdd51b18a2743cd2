#include "base/system_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>

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

TEST(SystemMemory, WhatIsAvailableIsUsable) {
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_LE(available_memory_bytes(), usable_memory_bytes());
  EXPECT_GT(address_space_left_bytes(), 0);
}

/// A control group of version 1 or 2 below the one at `root`, with a limit.
class LimitedGroup {
 public:
  LimitedGroup(const std::string& root, const std::string& file, int64_t bytes)
      : path_(root + "/lethe-test-" + std::to_string(::getpid())) {
    if (::mkdir(path_.c_str(), 0755) != 0) return;
    std::ofstream(path_ + "/" + file) << bytes;
    made_ = true;
  }
  ~LimitedGroup() { ::rmdir(path_.c_str()); }
  LimitedGroup(const LimitedGroup&) = delete;
  LimitedGroup& operator=(const LimitedGroup&) = delete;

  /// What a process in the group finds; nothing if there can be none.
  std::optional<int64_t> usable_inside() const {
    if (!made_) return std::nullopt;
    int ends[2];
    if (::pipe(ends) != 0) return std::nullopt;
    const pid_t child = ::fork();
    if (child == 0) {
      std::ofstream procs(path_ + "/cgroup.procs");
      procs << ::getpid() << std::flush;
      const int64_t usable = procs ? usable_memory_bytes() : -1;
      ::_exit(::write(ends[1], &usable, sizeof usable) == sizeof usable ? 0 : 1);
    }
    int64_t usable = -1;
    ::close(ends[1]);
    const bool told = ::read(ends[0], &usable, sizeof usable) == sizeof usable;
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return told && usable > 0 ? std::optional(usable) : std::nullopt;
  }

 private:
  std::string path_;
  bool made_ = false;
};

TEST(SystemMemory, HeedsTheLimitOfAControlGroup) {
  constexpr int64_t kLimit = int64_t{64} << 20;
  bool tried = false;
  for (const auto& [root, file] : {std::pair{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                                   std::pair{"/sys/fs/cgroup", "memory.max"}}) {
    if (!std::ifstream(std::string(root) + "/cgroup.procs")) continue;
    const LimitedGroup group(root, file, kLimit);
    const std::optional<int64_t> usable = group.usable_inside();
    if (!usable) continue;
    EXPECT_EQ(*usable, kLimit) << root;
    tried = true;
  }
  if (!tried) GTEST_SKIP() << "no control group can be made here";
}

}  // namespace
}  // namespace lethe
