#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tensor/checkpoint.h"
#include "tensor/inventory.h"

namespace lethe::model {

/// As messages have it.
constexpr double gigabytes(int64_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

/// What a model wants of memory, bytes.
struct MemoryNeeds {
  int64_t dense_bytes = 0;        ///< weights that every token reads
  int64_t lookup_bytes = 0;       ///< tables of which a token reads a few rows: embeddings, Engram
  int64_t expert_bytes = 0;       ///< all routed experts, those of draft blocks too
  int64_t draft_bytes = 0;        ///< of dense_bytes: the draft blocks'
  int64_t num_experts = 0;        ///< of all blocks together
  int64_t slot_bytes = 0;         ///< place of one expert in an expert cache, at most
  int64_t experts_per_token = 0;  ///< the most of any block
};
MemoryNeeds memory_needs(const Checkpoint& checkpoint);
/// As released, with draft blocks.
MemoryNeeds memory_needs(const ModelConfig& config);

/// Whether a token reads but a few rows of the tensor: embeddings, Engram.
bool is_looked_up(const TensorSpec& spec);

/// How those needs are met by a given amount of memory.
struct MemoryPlan {
  MemoryNeeds needs;
  int64_t memory_bytes = 0;  ///< what there is
  int64_t state_bytes = 0;   ///< set aside for conversations
  int64_t margin_bytes = 0;  ///< for the program, its activations, and rows of tables
  bool fits = false;         ///< all weights but the tables: no expert cache is called for
  /// What is left for an expert cache, at most what all experts take; negative: the rest does not
  /// even fit without one.
  int64_t cache_bytes = 0;
  int64_t slots = 0;      ///< experts that it holds
  bool possible = false;  ///< fits, or the cache is large enough to work
  /// Of all experts, those that memory holds, 0 to 1.
  double resident_share() const;
  /// What a cache takes at least.
  int64_t least_cache_bytes() const;
  /// Memory with which it would work at all.
  int64_t least_memory_bytes() const;
};
MemoryPlan plan_memory(const MemoryNeeds& needs, int64_t memory_bytes, int64_t state_bytes);

/// Whether experts are cached, and how much of them.
struct ExpertCacheChoice {
  enum class Mode {
    off,        ///< weights are used where they are mapped
    automatic,  ///< cached if the weights do not fit into memory, as large as there is room for
    fixed,      ///< cached, in `bytes`
  };
  Mode mode = Mode::off;
  int64_t bytes = 0;
  int64_t state_bytes = 0;  ///< memory of conversations to leave; 0: a quarter of what is free
};
/// "auto", "off" or a size ("12GB", "700MiB", bytes). Throws UsageError.
ExpertCacheChoice parse_expert_cache(const std::string& text);

/// Size of the expert cache in bytes for a checkpoint on this machine, now; 0: none. Throws
/// LoadError, and says what to do, if the model cannot work in the memory there is.
int64_t choose_expert_cache(const Checkpoint& checkpoint, const ExpertCacheChoice& choice);

}  // namespace lethe::model
