#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/machine_topology.h"
#include "base/mapped_file.h"
#include "base/thread_team.h"
#include "model/memory_plan.h"
#include "ops/weight_replicas.h"
#include "tensor/checkpoint.h"

namespace lethe::model {

/// Where weights are used.
enum class WeightPlacement {
  /// Where the files are mapped: in the system's page cache, which processes share. Nothing is read
  /// at the start; huge pages where the file system has them.
  map,
  /// In memory of the process's own, to which all but tables is copied at the start: on huge pages
  /// whatever the file system, spread over the NUMA nodes.
  copy,
  /// The same, but one copy for each NUMA node with memory; products read that of their thread's
  /// node (a hash layer's few bytes of its table are read in the first). With one node as `copy`.
  replicate,
};
/// "map", "copy" or "replicate". Throws UsageError.
WeightPlacement parse_weight_placement(std::string_view text);

struct WeightOptions {
  WeightPlacement placement = WeightPlacement::map;
  ExpertCacheChoice expert_cache = {};
  std::vector<int> nodes = {};  ///< NUMA nodes to replicate for; empty: memory_nodes()
  ops::WeightReplicas::NodeOfThread node_of_thread = current_node;
};

/// What place_weights() did.
struct PlacedWeights {
  int64_t expert_cache_bytes = 0;  ///< for ModelOptions; 0: no expert cache
  /// For Device::set_replicas(), before the model is made; null: there is one copy.
  std::shared_ptr<const ops::WeightReplicas> replicas;
};

/// Puts the weights of a checkpoint where they are to be used, before a model is made of it, and
/// says what to make it with. Copying shows its progress on stderr. Throws UsageError if an expert
/// cache of a given size and copied weights are wanted; LoadError, and says what to do, if the
/// model cannot work in the memory there is, or the copies have no room in it; IoError if a file
/// cannot be read.
PlacedWeights place_weights(Checkpoint& checkpoint, ThreadTeam& team, const WeightOptions& options);

/// A run of bytes in a file that weights are in.
struct WeightRange {
  const MappedFile* file = nullptr;
  uint64_t offset = 0;
  std::span<const std::byte> mapped;
};
/// Where the weights of a checkpoint lie, in the order of their addresses: all but the tables that
/// are read by the row, and, unless wanted, routed experts. Runs that are next to each other are
/// one.
std::vector<WeightRange> weight_ranges(const Checkpoint& checkpoint, bool with_experts);

}  // namespace lethe::model
