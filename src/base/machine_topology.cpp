#include "base/machine_topology.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <set>
#include <thread>

#include "base/control_group.h"

namespace lethe {

namespace {

constexpr int kMostNumbers = 1 << 16;  // of CPUs or nodes: more is no list of them

/// The first line of a file; "" if there is none.
std::string line_of(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

std::vector<int> affinity_mask() {
  constexpr int kCpus = 8192;
  std::vector<int> cpus;
  cpu_set_t* set = CPU_ALLOC(kCpus);
  if (set == nullptr) return cpus;
  const size_t size = CPU_ALLOC_SIZE(kCpus);
  CPU_ZERO_S(size, set);
  if (sched_getaffinity(0, size, set) == 0) {
    for (int cpu = 0; cpu < kCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, size, set)) cpus.push_back(cpu);
    }
  }
  CPU_FREE(set);
  return cpus;
}

/// "QUOTA PERIOD" of cpu.max, or the two files of version 1; "max" and -1 are no limit.
std::optional<double> quota_of(const ControlGroup& group) {
  double quota = 0;
  double period = 0;
  if (group.version == 2) {
    std::ifstream in(group.directory + "/cpu.max");
    if (!(in >> quota >> period)) return std::nullopt;
  } else {
    std::ifstream quota_in(group.directory + "/cpu.cfs_quota_us");
    std::ifstream period_in(group.directory + "/cpu.cfs_period_us");
    if (!(quota_in >> quota) || !(period_in >> period)) return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

}  // namespace

std::vector<int> parse_number_list(std::string_view text) {
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int first = 0;
    auto [stop, error] = std::from_chars(at, end, first);
    if (error != std::errc() || first < 0) return numbers;
    int last = first;
    if (stop != end && *stop == '-') {
      const auto [range_stop, range_error] = std::from_chars(stop + 1, end, last);
      if (range_error != std::errc()) return numbers;
      stop = range_stop;
    }
    if (last >= kMostNumbers) return numbers;
    for (int number = first; number <= last; ++number) numbers.push_back(number);
    if (stop == end || *stop != ',') return numbers;
    at = stop + 1;
  }
  return numbers;
}

UsableCpus order_cpus(const std::vector<int>& allowed, const std::string& root) {
  UsableCpus usable;
  std::vector<int> siblings;
  std::set<int> taken;  // CPUs whose core has one in the list
  for (const int cpu : allowed) {
    if (taken.contains(cpu)) {
      siblings.push_back(cpu);
      continue;
    }
    usable.cpus.push_back(cpu);
    const std::string path = root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                             "/topology/thread_siblings_list";
    for (const int sibling : parse_number_list(line_of(path))) taken.insert(sibling);
  }
  usable.cores = std::max(1, static_cast<int>(usable.cpus.size()));
  usable.cpus.insert(usable.cpus.end(), siblings.begin(), siblings.end());
  return usable;
}

UsableCpus usable_cpus() {
  std::vector<int> allowed = affinity_mask();
  if (allowed.empty()) {
    const int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int cpu = 0; cpu < count; ++cpu) allowed.push_back(cpu);
  }
  return order_cpus(allowed);
}

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> least;
  for (const ControlGroup& group : control_groups("cpu", root)) {
    const std::optional<double> quota = quota_of(group);
    if (quota && (!least || *quota < *least)) least = quota;
  }
  return least;
}

int default_compute_threads() {
  const int cores = usable_cpus().cores;
  const std::optional<double> quota = cpu_quota();
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

std::vector<int> memory_nodes(const std::string& root) {
  std::vector<int> nodes = parse_number_list(line_of(root + "/sys/devices/system/node/has_memory"));
  if (nodes.empty()) nodes.push_back(0);
  return nodes;
}

int current_node() noexcept {
  unsigned cpu = 0;
  unsigned node = 0;
  return ::getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

}  // namespace lethe
