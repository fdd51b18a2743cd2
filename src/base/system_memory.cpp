#include "base/system_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>

#include "base/control_group.h"

namespace lethe {

namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The number in a control group's file; "max", absent or unreadable is no limit.
int64_t limit_in(const std::string& path) {
  std::ifstream in(path);
  int64_t bytes = 0;
  return in >> bytes && bytes > 0 ? bytes : kNoLimit;
}

int64_t control_group_limit() {
  int64_t limit = kNoLimit;
  for (const ControlGroup& group : control_groups("memory")) {
    if (group.version == 1) {
      limit = std::min(limit, limit_in(group.directory + "/memory.limit_in_bytes"));
    } else {
      limit = std::min({limit, limit_in(group.directory + "/memory.max"),
                        limit_in(group.directory + "/memory.high")});
    }
  }
  return limit;
}

int64_t address_space_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, kNoLimit));
}

/// MemAvailable: free memory, and what dropping pages of files would free.
int64_t free_on_machine() {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    int64_t kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %" SCNd64 " kB", &kib) == 1) return kib * 1024;
  }
  return kNoLimit;
}

}  // namespace

int64_t usable_memory_bytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  return std::max<int64_t>(1, std::min({machine, control_group_limit(), address_space_limit()}));
}

int64_t available_memory_bytes() {
  return std::max<int64_t>(1, std::min(usable_memory_bytes(), free_on_machine()));
}

int64_t address_space_left_bytes() {
  const int64_t limit = address_space_limit();
  if (limit == kNoLimit) return kNoLimit;
  std::ifstream in("/proc/self/statm");
  int64_t pages = 0;
  in >> pages;
  return std::max<int64_t>(0, limit - pages * sysconf(_SC_PAGE_SIZE));
}

}  // namespace lethe
