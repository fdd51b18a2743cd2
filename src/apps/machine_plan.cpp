#include "apps/machine_plan.h"

#include "apps/disk_probe.h"
#include "apps/machine_probe.h"
#include "base/system_memory.h"
#include "base/thread_team.h"

namespace lethe::apps {

MachineFacts probe_machine_facts(const MachineProbeOptions& options, const Checkpoint* checkpoint) {
  MachineFacts facts;
  facts.memory_bytes = options.memory_bytes > 0 ? options.memory_bytes : available_memory_bytes();
  if (options.disk_gb_s > 0) facts.disk_gb_s = options.disk_gb_s;
  if (!options.measure) return facts;
  ThreadTeam team;
  facts.read_gb_s = best_read_gb_s(team);
  if (!facts.disk_gb_s && checkpoint != nullptr) {
    facts.disk_gb_s = probe_disk_gb_s(checkpoint->files());
  }
  return facts;
}

MachinePlan plan_on_machine(const MachineFacts& machine, const model::MemoryNeeds& needs,
                            int64_t state_bytes, const TokenReads& reads) {
  MachinePlan plan;
  plan.memory = model::plan_memory(needs, machine.memory_bytes, state_bytes);
  plan.memory_bytes_per_token = static_cast<double>(reads.active_bytes + reads.cache_read_bytes);
  plan.disk_bytes_per_token =
      static_cast<double>(reads.active_expert_bytes) * (1 - plan.memory.resident_share());
  const bool needs_disk = plan.disk_bytes_per_token > 0;
  if (!plan.memory.possible || !machine.read_gb_s || (needs_disk && !machine.disk_gb_s)) {
    return plan;
  }
  double seconds = plan.memory_bytes_per_token / (*machine.read_gb_s * 1e9);
  if (needs_disk) seconds += plan.disk_bytes_per_token / (*machine.disk_gb_s * 1e9);
  plan.decode_tokens_per_s = 1 / seconds;
  return plan;
}

}  // namespace lethe::apps
