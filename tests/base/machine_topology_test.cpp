#include "base/machine_topology.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/control_group.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

/// A tree of files that takes the place of "/" for what reads the system's.
class FakeRoot {
 public:
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = directory_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
  }
  std::string path() const { return directory_.path().string(); }

 private:
  testing::TemporaryDirectory directory_;
};

TEST(NumberList, ReadsWhatTheKernelWrites) {
  using Numbers = std::vector<int>;
  EXPECT_EQ(parse_number_list("0"), (Numbers{0}));
  EXPECT_EQ(parse_number_list("0-3,8,10-11"), (Numbers{0, 1, 2, 3, 8, 10, 11}));
  EXPECT_EQ(parse_number_list(""), Numbers{});
  EXPECT_EQ(parse_number_list("1,x"), (Numbers{1}));
  EXPECT_EQ(parse_number_list("-1"), Numbers{});
  EXPECT_EQ(parse_number_list("0-99999999"), Numbers{});
  EXPECT_EQ(parse_number_list("0-99999999999999"), Numbers{});
}

TEST(UsableCpus, CoresComeBeforeTheirSiblings) {
  const FakeRoot root;
  const auto pair = [&](int cpu, const std::string& siblings) {
    root.write(
        "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list",
        siblings);
  };
  for (const int cpu : {0, 4}) pair(cpu, "0,4");
  for (const int cpu : {1, 5}) pair(cpu, "1,5");
  for (const int cpu : {2, 3}) pair(cpu, "2-3");
  const UsableCpus all = order_cpus({0, 1, 2, 3, 4, 5}, root.path());
  EXPECT_EQ(all.cpus, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(all.cores, 3);
  const UsableCpus masked = order_cpus({3, 4, 5}, root.path());
  EXPECT_EQ(masked.cpus, (std::vector<int>{3, 4, 5}));
  EXPECT_EQ(masked.cores, 3);
  const UsableCpus mixed = order_cpus({2, 3, 5}, root.path());
  EXPECT_EQ(mixed.cpus, (std::vector<int>{2, 5, 3}));
  EXPECT_EQ(mixed.cores, 2);
}

TEST(UsableCpus, WithoutTopologyEveryCpuIsACore) {
  const FakeRoot root;
  const UsableCpus usable = order_cpus({1, 3}, root.path());
  EXPECT_EQ(usable.cpus, (std::vector<int>{1, 3}));
  EXPECT_EQ(usable.cores, 2);
}

TEST(UsableCpus, OfThisProcessAreSome) {
  const UsableCpus usable = usable_cpus();
  EXPECT_GE(usable.cores, 1);
  EXPECT_GE(usable.cpus.size(), static_cast<size_t>(usable.cores));
  EXPECT_GE(default_compute_threads(), 1);
  EXPECT_LE(default_compute_threads(), usable.cores);
}

TEST(CpuQuota, IsTheLeastOfTheGroupAndThoseAboveIt) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "0::/slice/service");
  EXPECT_EQ(cpu_quota(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/slice/service/cpu.max", "max 100000");
  EXPECT_EQ(cpu_quota(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/slice/cpu.max", "150000 100000");
  EXPECT_EQ(cpu_quota(root.path()), 1.5);
  root.write("sys/fs/cgroup/slice/service/cpu.max", "400000 100000");
  EXPECT_EQ(cpu_quota(root.path()), 1.5);
  root.write("sys/fs/cgroup/cpu.max", "50000 100000");  // a container sees its own at the root
  EXPECT_EQ(cpu_quota(root.path()), 0.5);
}

TEST(CpuQuota, OfVersionOne) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "4:memory:/other\n3:cpu,cpuacct:/box");
  root.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1");
  root.write("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cpu_quota(root.path()), std::nullopt);
  root.write("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "300000");
  EXPECT_EQ(cpu_quota(root.path()), 3.0);
  root.write("sys/fs/cgroup/cpu/other/cpu.cfs_quota_us", "100000");
  root.write("sys/fs/cgroup/cpu/other/cpu.cfs_period_us", "100000");
  EXPECT_EQ(cpu_quota(root.path()), 3.0);
}

TEST(ControlGroups, AreThoseOfTheController) {
  const FakeRoot root;
  root.write("proc/self/cgroup", "2:memory:/m/n\nnonsense\n5:cpu:relative\n0::/u");
  const std::string mount = root.path() + "/sys/fs/cgroup";
  std::vector<std::string> found;
  for (const ControlGroup& group : control_groups("memory", root.path())) {
    found.push_back(group.directory + ' ' + std::to_string(group.version));
  }
  EXPECT_EQ(found, (std::vector<std::string>{mount + "/memory/m/n 1", mount + "/memory/m 1",
                                             mount + "/memory 1", mount + "/u 2", mount + " 2",
                                             mount + "/memory 1"}));
}

TEST(MemoryNodes, AreThoseWithMemory) {
  const FakeRoot root;
  EXPECT_EQ(memory_nodes(root.path()), (std::vector<int>{0}));
  root.write("sys/devices/system/node/has_memory", "0,2-3");
  EXPECT_EQ(memory_nodes(root.path()), (std::vector<int>{0, 2, 3}));
}

}  // namespace
}  // namespace lethe
