#pragma once

#include <cstdint>
#include <optional>

#include "model/memory_plan.h"

namespace lethe::apps {

/// The machine that a plan is for. 1 GB = 10^9 bytes.
struct MachineFacts {
  int64_t memory_bytes = 0;         ///< that a process may use
  std::optional<double> read_gb_s;  ///< of memory; nothing: not measured
  std::optional<double> disk_gb_s;  ///< of the disk with the weights
};

/// Measures this machine, as far as it is not told: memory in use elsewhere counts as not there.
struct MachineProbeOptions {
  int64_t memory_bytes = 0;  ///< suppose so much; 0: ask the system
  double disk_gb_s = 0;      ///< suppose so much; 0: measure on the checkpoint, if there is one
  bool measure = true;
};
MachineFacts probe_machine_facts(const MachineProbeOptions& options, const Checkpoint* checkpoint);

/// What one model would do there.
struct MachinePlan {
  model::MemoryPlan memory;
  /// Bytes of weights and cache that a decoded token reads from memory, and those that come from
  /// disk on average, before they are read from memory too.
  double memory_bytes_per_token = 0;
  double disk_bytes_per_token = 0;
  /// Decoded tokens a second at best; nothing where it is not possible or a speed is not known.
  /// Assumed: memory and disk give what was measured, one after the other; the router picks any
  /// expert as likely as any other, so that those in memory serve as large a share of the uses as
  /// they are of all experts; no drafts.
  std::optional<double> decode_tokens_per_s = std::nullopt;
};
/// `active_bytes`: read for one token, of which `active_expert_bytes` are routed experts';
/// `cache_read_bytes`: of the sequence's cache.
struct TokenReads {
  int64_t active_bytes = 0;
  int64_t active_expert_bytes = 0;
  int64_t cache_read_bytes = 0;
};
MachinePlan plan_on_machine(const MachineFacts& machine, const model::MemoryNeeds& needs,
                            int64_t state_bytes, const TokenReads& reads);

}  // namespace lethe::apps
