#include "tensor/tensor_faults.h"

#include <fmt/format.h>

#include <cctype>
#include <map>

namespace lethe::internal {

namespace {

constexpr size_t kListedApart = 3;  // so many like faults still get a line each

/// The name with every run of digits replaced by '*'.
std::string pattern_of(const std::string& name) {
  std::string pattern;
  for (const char c : name) {
    if (std::isdigit(static_cast<unsigned char>(c)) == 0) {
      pattern += c;
    } else if (pattern.empty() || pattern.back() != '*') {
      pattern += '*';
    }
  }
  return pattern;
}

}  // namespace

std::string TensorFault::line() const {
  return fmt::format("{}: {}: expected {}, found {}", file, tensor, expected, found);
}

std::string fault_summary(const std::vector<TensorFault>& faults, size_t max_lines) {
  std::map<std::string, size_t> group_of;
  std::vector<std::vector<const TensorFault*>> groups;
  for (const TensorFault& fault : faults) {
    const std::string key = pattern_of(fault.tensor) + '\n' + fault.expected + '\n' + fault.found;
    const auto [it, is_new] = group_of.emplace(key, groups.size());
    if (is_new) groups.emplace_back();
    groups[it->second].push_back(&fault);
  }
  std::vector<std::string> lines;
  size_t told = 0;
  for (const auto& group : groups) {
    if (lines.size() >= max_lines) break;
    const bool apart = group.size() <= kListedApart && lines.size() + group.size() <= max_lines;
    told += group.size();
    if (apart) {
      for (const TensorFault* fault : group) lines.push_back(fault->line());
      continue;
    }
    const TensorFault& first = *group.front();
    lines.push_back(fmt::format("{}: {} tensors like {}: expected {}, found {}", first.file,
                                group.size(), first.tensor, first.expected, first.found));
  }
  if (told < faults.size()) lines.push_back(fmt::format("and {} more", faults.size() - told));
  return fmt::format("{}", fmt::join(lines, "\n  "));
}

}  // namespace lethe::internal
