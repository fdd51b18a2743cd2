#pragma once

#include <string>

#include "base/thread_team.h"
#include "model/model.h"
#include "model/weight_placement.h"
#include "ops/device.h"
#include "tensor/checkpoint.h"

namespace CLI {
class App;
}

namespace lethe::apps {

/// How a command computes; the same options wherever a model runs.
struct ComputeOptions {
  int threads = 0;                    ///< of a ThreadTeam; 0: default_compute_threads()
  bool pin = false;                   ///< ThreadTeam::Pinning::cores
  std::string numerics = "fast";      ///< ops::parse_numerics
  std::string isa = "auto";           ///< kernels::select_kernels
  std::string replay = "exact";       ///< model_options()
  std::string expert_cache = "auto";  ///< model::parse_expert_cache
  std::string weights = "map";        ///< model::parse_weight_placement
};

/// Adds --threads, --pin, --numerics, --isa, --replay, --expert-cache and --weights. `options` must
/// outlive the parsing.
void add_compute_options(CLI::App& command, ComputeOptions& options);

/// The device that the options describe, on a team of options.threads. Throws UsageError if this
/// machine cannot run the wanted kernel set.
ops::Device make_device(ThreadTeam& team, const ComputeOptions& options);

/// What the options say about the model: --replay. Throws UsageError if that is neither a word it
/// knows nor a number of tokens.
model::ModelOptions model_options(const ComputeOptions& options);

ThreadTeam::Pinning pinning(const ComputeOptions& options);

/// Where weights go by the options, where the states of conversations take `state_bytes` (0: not
/// known). Throws UsageError.
model::WeightOptions weight_options(const ComputeOptions& options, int64_t state_bytes);

}  // namespace lethe::apps
