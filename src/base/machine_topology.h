#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lethe {

/// What the system says about processors and memory. All of it is read anew on every call. `root`
/// goes before "/sys" and "/proc": for tests.

/// The CPUs that this process may run on (its affinity mask), in the order in which threads that
/// compute should take them: one of every physical core, then the siblings that share those cores.
struct UsableCpus {
  std::vector<int> cpus;  ///< never empty
  int cores = 1;          ///< of them, the first so many are on physical cores of their own
};
UsableCpus usable_cpus();
/// The same for a given mask.
UsableCpus order_cpus(const std::vector<int>& allowed, const std::string& root = "");

/// CPUs' worth of time that control groups let this process use (cpu.max, or cpu.cfs_quota_us of
/// version 1), the least of those that apply; nothing if none limits it.
std::optional<double> cpu_quota(const std::string& root = "");

/// How many threads compute by default: one per physical core, and no more than the quota rounded
/// up.
int default_compute_threads();

/// Numbers of the NUMA nodes with memory; {0} where the system does not say.
std::vector<int> memory_nodes(const std::string& root = "");

/// Number of the NUMA node of the CPU on which the calling thread runs at the moment; 0 where the
/// system does not say.
int current_node() noexcept;

/// "0-3,8" as the kernel writes it: {0, 1, 2, 3, 8}. Ends where the text stops making sense.
std::vector<int> parse_number_list(std::string_view text);

}  // namespace lethe
