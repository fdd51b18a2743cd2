#pragma once

#include <cstdint>

#include "model/batch.h"
#include "ops/matrix.h"

namespace lethe::model::v41 {

/// What layers hand to later layers within one forward pass: KV sources publish whose compressed
/// rows and index keys are current, index sources publish their choice of rows. A layer that is
/// neither uses what was published last. Source: spec V4.1 4.3.
struct SharedStreams {
  /// Layer whose compressed rows are attended to; -1: none published yet.
  int64_t kv_source = -1;
  /// [sequences]: layer whose index keys are scored. The same as kv_source, unless the reference's
  /// stale keys are wanted.
  RecycledVector<int64_t> index_key_source;
  /// [rows, index_topk] compressed rows, ascending, then -1.
  ops::IndexMatrix selected;
  /// [rows]: numbers of the candidate blocks, ascending; filled by the candidate source.
  RecycledVector<RecycledVector<int32_t>> candidate_blocks;

  /// What of it belongs to the narrow sequences of `batch`, or to the others.
  SharedStreams only(const Batch& batch, bool narrow) const;
};

}  // namespace lethe::model::v41
