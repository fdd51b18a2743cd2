#pragma once

#include "base/thread_team.h"
#include "kernels/kernel_table.h"

namespace lethe::apps {

/// What a machine can do at best, measured now. 1 GB = 10^9 bytes; a multiply-add is two
/// operations.
struct MachineLimits {
  double read_gb_s = 0;     ///< reading memory that no cache holds
  double int8_gop_s = 0;    ///< kernels::PeakProbe::int8_ops
  double bf16_gflop_s = 0;  ///< kernels::PeakProbe::bf16_flops
};

/// Measures with all threads of the team, each figure the best of a few tries; takes about a second
/// and half a gigabyte of memory.
MachineLimits probe_machine(ThreadTeam& team, const kernels::KernelTable& kernels);

/// Of those, the bandwidth of memory alone, GB/s.
double probe_read_gb_s(ThreadTeam& team);

}  // namespace lethe::apps
