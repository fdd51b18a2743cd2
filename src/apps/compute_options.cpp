#include "apps/compute_options.h"

#include <CLI/CLI.hpp>
#include <charconv>

#include "base/error.h"
#include "kernels/kernel_sets.h"

namespace lethe::apps {

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Compute threads (default: the cores)")
      ->check(CLI::Range(0, 1024));
  command.add_flag("--pin", options.pin,
                   "Keep each compute thread on a core of its own; for machines that do nothing "
                   "else");
  command.add_option("--numerics", options.numerics, "f32, f32-served, official or fast")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "f32-served", "official", "fast"}));
  command
      .add_option("--isa", options.isa,
                  "Instruction set of the kernels: auto (the best here), scalar, avx2, avxvnni, "
                  "avx512, avx512bf16, amx (not tried on a processor yet), neon, neon-i8mm")
      ->capture_default_str();
  command
      .add_option("--replay", options.replay,
                  "V4.1: how much of a prompt the layers past the last KV source read: exact (as "
                  "much as the answer depends on), all, or a number of tokens (an approximation)")
      ->capture_default_str();
  command
      .add_option("--expert-cache", options.expert_cache,
                  "Memory for routed experts of a model that does not fit into memory, e.g. 12GB; "
                  "auto: what there is room for, if it does not fit; off: never")
      ->capture_default_str();
  command
      .add_option("--weights", options.weights,
                  "map: used where the files are mapped; copy: read into memory at the start, on "
                  "huge pages and spread over NUMA nodes; replicate: one such copy for each node, "
                  "and --pin")
      ->capture_default_str()
      ->check(CLI::IsMember({"map", "copy", "replicate"}));
}

ops::Device make_device(ThreadTeam& team, const ComputeOptions& options) {
  return {team, ops::parse_numerics(options.numerics), kernels::select_kernels(options.isa)};
}

model::ModelOptions model_options(const ComputeOptions& options) {
  constexpr int64_t kMost = int64_t{1} << 40;  // more than any context
  model::ModelOptions out;
  if (options.replay == "exact") return out;
  if (options.replay == "all") {
    out.replay_rows = kMost;
    return out;
  }
  int64_t rows = 0;
  const char* const end = options.replay.data() + options.replay.size();
  const auto [stop, error] = std::from_chars(options.replay.data(), end, rows);
  if (error != std::errc() || stop != end || rows < 1 || rows > kMost) {
    throw UsageError("--replay is '{}': it must be exact, all, or a number of tokens from 1 on",
                     options.replay);
  }
  out.replay_rows = rows;
  return out;
}

ThreadTeam::Pinning pinning(const ComputeOptions& options) {
  // A thread that moves to another node would read what is far from then on.
  const bool pin = options.pin || options.weights == "replicate";
  return pin ? ThreadTeam::Pinning::cores : ThreadTeam::Pinning::none;
}

model::WeightOptions weight_options(const ComputeOptions& options, int64_t state_bytes) {
  model::WeightOptions out;
  out.placement = model::parse_weight_placement(options.weights);
  out.expert_cache = model::parse_expert_cache(options.expert_cache);
  out.expert_cache.state_bytes = state_bytes;
  return out;
}

}  // namespace lethe::apps
