#include "model/v41/shared_streams.h"

#include <algorithm>

namespace lethe::model::v41 {

SharedStreams SharedStreams::only(const Batch& batch, bool narrow) const {
  SharedStreams part;
  part.kv_source = kv_source;
  part.selected =
      ops::IndexMatrix(selected.rows() == 0 ? 0 : batch.only(narrow).rows(), selected.cols());
  int64_t row = 0;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& rows = batch.sequences[s];
    if (rows.narrow != narrow) continue;
    part.index_key_source.push_back(index_key_source[s]);
    for (int64_t i = rows.row_begin; i < rows.row_begin + rows.row_count; ++i, ++row) {
      if (selected.rows() > 0) {
        std::copy(selected.row(i).begin(), selected.row(i).end(), part.selected.row(row).begin());
      }
      if (!candidate_blocks.empty()) {
        part.candidate_blocks.push_back(candidate_blocks[static_cast<size_t>(i)]);
      }
    }
  }
  return part;
}

}  // namespace lethe::model::v41
