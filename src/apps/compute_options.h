#pragma once

#include <string>

#include "base/thread_team.h"
#include "model/model.h"
#include "ops/device.h"

namespace CLI {
class App;
}

namespace lethe::apps {

/// How a command computes; the same options wherever a model runs.
struct ComputeOptions {
  int threads = 0;                ///< of a ThreadTeam; 0 means all CPUs
  std::string numerics = "fast";  ///< ops::parse_numerics
  std::string isa = "auto";       ///< kernels::select_kernels
  std::string replay = "exact";   ///< model_options()
};

/// Adds --threads, --numerics, --isa and --replay. `options` must outlive the parsing.
void add_compute_options(CLI::App& command, ComputeOptions& options);

/// The device that the options describe, on a team of options.threads. Throws UsageError if this
/// machine cannot run the wanted kernel set.
ops::Device make_device(ThreadTeam& team, const ComputeOptions& options);

/// What the options say about the model: --replay. Throws UsageError if that is neither a word it
/// knows nor a number of tokens.
model::ModelOptions model_options(const ComputeOptions& options);

}  // namespace lethe::apps
