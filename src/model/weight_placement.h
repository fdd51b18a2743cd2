#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/thread_team.h"
#include "model/memory_plan.h"
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
};
/// "map" or "copy". Throws UsageError.
WeightPlacement parse_weight_placement(std::string_view text);

struct WeightOptions {
  WeightPlacement placement = WeightPlacement::map;
  ExpertCacheChoice expert_cache = {};
};

/// Puts the weights of a checkpoint where they are to be used, before a model is made of it, and
/// gives the size in bytes of the expert cache to make it with (0: none). Copying shows its
/// progress on stderr. Throws UsageError if an expert cache of a given size and copied weights are
/// wanted; LoadError, and says what to do, if the model cannot work in the memory there is, or the
/// copy has no room in it; IoError if a file cannot be read.
int64_t place_weights(Checkpoint& checkpoint, ThreadTeam& team, const WeightOptions& options);

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
