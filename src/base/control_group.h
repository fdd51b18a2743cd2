#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lethe {

/// Where a control group keeps its limits.
struct ControlGroup {
  std::string directory;
  int version = 2;  ///< of the control group interface: 1 or 2
};

/// This process's control groups that may limit `controller` ("memory", "cpu"), innermost first and
/// those above them after, in either version. Inside a container the group may be named as the host
/// sees it; the container's own is then at the root, which is always among them. Read anew on every
/// call; a directory that is named need not exist. `root` goes before "/proc" and "/sys": for
/// tests.
std::vector<ControlGroup> control_groups(std::string_view controller, const std::string& root = "");

}  // namespace lethe
