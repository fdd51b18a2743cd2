#include "apps/compute_options.h"

#include <CLI/CLI.hpp>

#include "kernels/kernel_sets.h"

namespace lethe::apps {

void add_compute_options(CLI::App& command, ComputeOptions& options) {
  command.add_option("--threads", options.threads, "Compute threads (default: all CPUs)")
      ->check(CLI::Range(0, 1024));
  command.add_option("--numerics", options.numerics, "f32, official or fast")
      ->capture_default_str()
      ->check(CLI::IsMember({"f32", "official", "fast"}));
  command
      .add_option("--isa", options.isa,
                  "Instruction set of the kernels: auto (the best here), scalar, avx2, avx512, "
                  "avx512bf16; all but the last give the same results")
      ->capture_default_str();
}

ops::Device make_device(ThreadTeam& team, const ComputeOptions& options) {
  return {team, ops::parse_numerics(options.numerics), kernels::select_kernels(options.isa)};
}

}  // namespace lethe::apps
