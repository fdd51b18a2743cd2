#pragma once

#include <span>

#include "base/recycled_memory.h"
#include "ops/index_scores.h"

namespace lethe::ops {

/// Index keys [begin, end).
struct KeyRun {
  int64_t begin = 0;
  int64_t end = 0;
};

/// What is chosen of the keys that a query sees.
struct KeyChoice {
  int64_t keys = 0;            ///< the best so many keys ...
  bool ascending = false;      ///< ... by number, instead of best first
  int64_t blocks = 0;          ///< and the best so many blocks, by their best key; 0: none
  int64_t keys_per_block = 1;  ///< key j is in block j / keys_per_block
};

/// Scores the keys of `runs` (ascending, disjoint) and chooses the best as TopK orders them, in one
/// pass: scores are not kept. `selected` becomes their numbers, then -1. `blocks`: becomes the
/// numbers of the best blocks, ascending; the block of the last key is always among them; null if
/// none are wanted. share_keys: the team shares out this query's keys; otherwise serial, so that
/// callers can share out queries. The choice does not depend on that.
/// Source: spec V4 4.4, V4.1 4.3.
void select_keys(const Device& device, const IndexQuery& query, std::span<const KeyRun> runs,
                 const KeyChoice& choice, bool share_keys, std::span<int32_t> selected,
                 RecycledVector<int32_t>* blocks = nullptr);

}  // namespace lethe::ops
