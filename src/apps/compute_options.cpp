#include "apps/compute_options.h"

#include <CLI/CLI.hpp>

#include "kernels/kernel_sets.h"
#include "model/memory_plan.h"

namespace lethe::apps {

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Compute threads (default: all CPUs)")
      ->check(CLI::Range(0, 1024));
  command.add_option("--numerics", options.numerics, "f32, official or fast")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "official", "fast"}));
  command
      .add_option("--isa", options.isa,
                  "Instruction set of the kernels: auto (the best here), scalar, avx2; the results "
                  "are the same")
      ->capture_default_str();
  command
      .add_option("--expert-cache", options.expert_cache,
                  "Memory for routed experts of a model that does not fit into memory, e.g. 12GB; "
                  "auto: what there is room for, if it does not fit; off: never")
      ->capture_default_str();
}

ops::Device make_device(ThreadTeam& team, const ComputeOptions& options) {
  return {team, ops::parse_numerics(options.numerics), kernels::select_kernels(options.isa)};
}

int64_t expert_cache_bytes(const Checkpoint& checkpoint, const ComputeOptions& options,
                           int64_t state_bytes) {
  model::ExpertCacheChoice choice = model::parse_expert_cache(options.expert_cache);
  choice.state_bytes = state_bytes;
  return model::choose_expert_cache(checkpoint, choice);
}

}  // namespace lethe::apps
