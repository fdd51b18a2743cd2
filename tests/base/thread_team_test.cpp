#include "base/thread_team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/machine_topology.h"

namespace lethe {
namespace {

class ThreadTeamOfSize : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, ThreadTeamOfSize, testing::Values(1, 2, 3, 7));

TEST_P(ThreadTeamOfSize, RunsEveryPartOnceOnItsOwnThread) {
  ThreadTeam team(GetParam());
  ASSERT_EQ(team.size(), GetParam());
  std::mutex mutex;
  std::multiset<int> parts;
  std::set<std::thread::id> threads;
  team.run([&](int part) {
    const std::lock_guard lock(mutex);
    parts.insert(part);
    threads.insert(std::this_thread::get_id());
  });
  std::multiset<int> expected;
  for (int i = 0; i < GetParam(); ++i) expected.insert(i);
  EXPECT_EQ(parts, expected);
  EXPECT_EQ(threads.size(), static_cast<size_t>(GetParam()));
}

TEST_P(ThreadTeamOfSize, RunsPartZeroOnTheCaller) {
  ThreadTeam team(GetParam());
  std::thread::id zero;
  team.run([&](int part) {
    if (part == 0) zero = std::this_thread::get_id();
  });
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST_P(ThreadTeamOfSize, CoversEveryIndexOnceWhateverTheGrain) {
  ThreadTeam team(GetParam());
  for (const int64_t n : {0, 1, 2, 7, 100}) {
    for (const int64_t grain : {1, 3, 7, 1000}) {
      std::vector<int> visits(static_cast<size_t>(n), 0);
      team.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
      });
      EXPECT_EQ(visits, std::vector<int>(static_cast<size_t>(n), 1)) << n << " by " << grain;
    }
  }
}

// Each region reads what the region before wrote on other threads, so a missed wake-up, a part run
// twice, or writes not visible after run() show (the last one to ThreadSanitizer).
TEST_P(ThreadTeamOfSize, ManyShortRegionsSeeEachOthersWrites) {
  ThreadTeam team(GetParam());
  const auto size = static_cast<size_t>(GetParam());
  std::vector<int64_t> now(size, 0);
  std::vector<int64_t> before(size, -1);
  constexpr int64_t kRegions = 2000;
  for (int64_t region = 0; region < kRegions; ++region) {
    before.swap(now);
    team.run([&](int part) {
      const auto me = static_cast<size_t>(part);
      now[me] = before[(me + 1) % size] + 1;
    });
  }
  EXPECT_EQ(now, std::vector<int64_t>(size, kRegions));
}

TEST_P(ThreadTeamOfSize, RethrowsAnExceptionAfterAllPartsEnded) {
  ThreadTeam team(GetParam());
  const int last = GetParam() - 1;
  std::atomic<int> ended{0};
  const auto region = [&](int part) {
    if (part == last) throw std::runtime_error("part " + std::to_string(part));
    std::this_thread::yield();
    ++ended;
  };
  try {
    team.run(region);
    FAIL() << "no exception";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(error.what(), "part " + std::to_string(last));
  }
  EXPECT_EQ(ended, last);
}

TEST_P(ThreadTeamOfSize, WorksOnAfterEveryPartThrew) {
  ThreadTeam team(GetParam());
  for (int round = 0; round < 50; ++round) {
    EXPECT_THROW(team.run([](int part) { throw part; }), int);
    std::atomic<int> sum{0};
    team.run([&](int part) { sum += part + 1; });
    EXPECT_EQ(sum, GetParam() * (GetParam() + 1) / 2);
  }
}

TEST_P(ThreadTeamOfSize, ParallelForRethrows) {
  ThreadTeam team(GetParam());
  EXPECT_THROW(team.parallel_for(100, 1,
                                 [](int64_t begin, int64_t) {
                                   if (begin == 0) throw std::runtime_error("first");
                                 }),
               std::runtime_error);
}

TEST(ThreadTeam, ZeroMeansTheCoresThisProcessMayUse) {
  ThreadTeam team(0);
  EXPECT_EQ(team.size(), default_compute_threads());
  EXPECT_FALSE(team.is_pinned());
}

/// The CPUs that each member of the team may run on.
std::vector<std::vector<int>> cpus_of_members(ThreadTeam& team) {
  std::vector<std::vector<int>> cpus(static_cast<size_t>(team.size()));
  team.run([&](int part) { cpus[static_cast<size_t>(part)] = usable_cpus().cpus; });
  return cpus;
}

TEST(ThreadTeam, PinnedWorkersAreOnDistinctCpusAndTheCallerWhereItWas) {
  const std::vector<int> before = usable_cpus().cpus;
  ThreadTeam team(static_cast<int>(before.size()), ThreadTeam::Pinning::cores);
  EXPECT_TRUE(team.is_pinned());
  const auto members = cpus_of_members(team);
  EXPECT_EQ(members[0], before);
  std::set<int> seen{before[0]};
  for (size_t i = 1; i < members.size(); ++i) {
    ASSERT_EQ(members[i].size(), 1U);
    EXPECT_TRUE(seen.insert(members[i][0]).second) << members[i][0];
  }
}

TEST(ThreadTeam, MoreThreadsThanCpusAreNotPinned) {
  const std::vector<int> before = usable_cpus().cpus;
  ThreadTeam team(static_cast<int>(before.size()) + 1, ThreadTeam::Pinning::cores);
  EXPECT_FALSE(team.is_pinned());
  for (const std::vector<int>& cpus : cpus_of_members(team)) EXPECT_EQ(cpus, before);
}

TEST(ThreadTeam, CanBeMadeAndDroppedWithoutEverRunning) {
  for (int i = 0; i < 100; ++i) ThreadTeam team(3);
}

TEST(ThreadTeam, TwoTeamsWorkSideBySide) {
  std::vector<int64_t> sums(2, 0);
  const auto work = [&](size_t which) {
    ThreadTeam team(2);
    for (int region = 0; region < 200; ++region) {
      std::vector<int64_t> parts(2, 0);
      team.run([&](int part) { parts[static_cast<size_t>(part)] = part + 1; });
      sums[which] += std::accumulate(parts.begin(), parts.end(), int64_t{0});
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(sums, (std::vector<int64_t>{600, 600}));
}

TEST(ThreadTeamDeath, RegionsDoNotNest) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        ThreadTeam team(2);
        team.run([&](int part) {
          if (part == 0) team.run([](int) {});
        });
      },
      "do not nest");
}

}  // namespace
}  // namespace lethe
