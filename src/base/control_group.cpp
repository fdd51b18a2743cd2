#include "base/control_group.h"

#include <fstream>

namespace lethe {

namespace {

/// `group` ("/a/b") and those above it, below the directory where its hierarchy is mounted.
void add_along(const std::string& mount, std::string group, int version,
               std::vector<ControlGroup>& groups) {
  for (;; group.resize(group.rfind('/'))) {
    while (group.ends_with('/')) group.pop_back();
    groups.push_back({mount + group, version});
    if (group.empty()) return;
  }
}

}  // namespace

std::vector<ControlGroup> control_groups(std::string_view controller, const std::string& root) {
  const std::string mount = root + "/sys/fs/cgroup";
  const std::string name(controller);
  std::vector<ControlGroup> groups;
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {  // NUMBER:CONTROLLERS:GROUP
    const size_t controllers = line.find(':');
    const size_t path = line.find(':', controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const std::string names = ',' + line.substr(controllers + 1, path - controllers - 1) + ',';
    const std::string group = line.substr(path + 1);
    if (group.empty() || group[0] != '/') continue;
    if (line.rfind("0::", 0) == 0) {
      add_along(mount, group, 2, groups);
    } else if (names.find(',' + name + ',') != std::string::npos) {
      add_along(mount + '/' + name, group, 1, groups);
    }
  }
  groups.push_back({mount + '/' + name, 1});
  return groups;
}

}  // namespace lethe
