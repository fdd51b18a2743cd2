#include "base/system_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace lethe {

namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The number in a control group's file; "max", absent or unreadable is no limit.
int64_t limit_in(const std::string& path) {
  std::ifstream in(path);
  int64_t bytes = 0;
  return in >> bytes && bytes > 0 ? bytes : kNoLimit;
}

/// The limits of this process's control group and of those above it (version 2), or of the
/// container's (version 1).
int64_t control_group_limit() {
  int64_t limit = limit_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("0::/", 0) != 0) continue;
    for (std::string group = line.substr(3);; group.resize(group.rfind('/'))) {
      while (group.ends_with('/')) group.pop_back();
      limit = std::min(limit, limit_in("/sys/fs/cgroup" + group + "/memory.max"));
      if (group.empty()) break;
    }
  }
  return limit;
}

int64_t address_space_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, kNoLimit));
}

}  // namespace

int64_t usable_memory_bytes() {
  const int64_t machine = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  return std::max<int64_t>(1, std::min({machine, control_group_limit(), address_space_limit()}));
}

}  // namespace lethe
