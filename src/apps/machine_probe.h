#pragma once

#include <cstdint>
#include <span>

#include "base/thread_team.h"
#include "kernels/kernel_table.h"
#include "kernels/peak_probe.h"

namespace lethe::apps {

/// What a machine gives, measured. 1 GB = 10^9 bytes; a multiply-add is two operations.
struct MachineLimits {
  double read_gb_s = 0;     ///< reading memory that no cache holds
  double int8_gop_s = 0;    ///< kernels::PeakProbe::int8_ops
  double bf16_gflop_s = 0;  ///< kernels::PeakProbe::bf16_flops
};

/// Each figure's median over measurements; of none: zeros.
MachineLimits median(std::span<const MachineLimits> measurements);

/// Measures a machine again and again, with all threads of a team: what it gives changes from one
/// second to the next where others use it too. What it reads from, up to half a gigabyte on huge
/// pages where there are any (looking pages up is not what it is to measure), it takes for each
/// measurement and gives back after it: a model that barely fits needs the memory.
class MachineProbe {
 public:
  /// `kernels`: the set whose dot products are measured.
  MachineProbe(ThreadTeam& team, const kernels::KernelTable& kernels);

  /// What it gives now; takes about a quarter of a second.
  MachineLimits measure();
  /// Of that, the bandwidth of memory alone, GB/s: the best of a few tries.
  double best_read_gb_s();

 private:
  using Work = double (*)(int64_t rounds) noexcept;
  int64_t rounds_for(Work work) const;
  /// Operations per second.
  double peak(Work work, int64_t rounds);

  ThreadTeam& team_;
  kernels::PeakProbe probe_;
  int64_t int8_rounds_ = 0;
  int64_t bf16_rounds_ = 0;
};

/// The bandwidth of memory, GB/s: the best of a few tries.
double best_read_gb_s(ThreadTeam& team);

}  // namespace lethe::apps
