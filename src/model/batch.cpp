#include "model/batch.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace lethe::model {

Batch Batch::of(std::span<const SequenceChunk> chunks, int64_t vocab_size, int64_t max_positions) {
  Batch batch;
  for (const SequenceChunk& chunk : chunks) {
    LETHE_CHECK(chunk.state != nullptr);
    const auto count = static_cast<int64_t>(chunk.tokens.size());
    const int64_t position = chunk.state->position();
    if (count == 0) throw Error("a sequence came without tokens; give at least one");
    if (count > max_positions - position) {
      throw Error(
          "{} tokens after {} would pass this model's context of {} tokens; shorten the "
          "input",
          count, position, max_positions);
    }
    LETHE_CHECK(!chunk.narrow || chunk.logits == LogitRows::None);
    batch.sequences.push_back({chunk.state, batch.rows(), count, position, chunk.narrow});
    for (int64_t i = 0; i < count; ++i) {
      const int32_t token = chunk.tokens[static_cast<size_t>(i)];
      if (token < 0 || token >= vocab_size) {
        throw Error("token {} at position {} is outside this model's vocabulary of {} tokens",
                    token, position + i, vocab_size);
      }
      batch.tokens.push_back(token);
      batch.positions.push_back(position + i);
    }
  }
  return batch;
}

bool Batch::has_narrow() const {
  return std::any_of(sequences.begin(), sequences.end(),
                     [](const SequenceRows& rows) { return rows.narrow; });
}

Batch Batch::only(bool narrow) const {
  Batch part;
  for (SequenceRows rows : sequences) {
    if (rows.narrow != narrow) continue;
    const int64_t begin = std::exchange(rows.row_begin, part.rows());
    part.tokens.insert(part.tokens.end(), tokens.begin() + begin,
                       tokens.begin() + begin + rows.row_count);
    part.positions.insert(part.positions.end(), positions.begin() + begin,
                          positions.begin() + begin + rows.row_count);
    part.sequences.push_back(rows);
  }
  return part;
}

ops::Matrix rows_of(const ops::Matrix& x, const Batch& batch, bool narrow) {
  int64_t count = 0;
  for (const SequenceRows& rows : batch.sequences) {
    if (rows.narrow == narrow) count += rows.row_count;
  }
  ops::Matrix part(count, x.cols());
  auto out = part.values().begin();
  for (const SequenceRows& rows : batch.sequences) {
    if (rows.narrow != narrow) continue;
    const auto begin = x.values().begin() + rows.row_begin * x.cols();
    out = std::copy(begin, begin + rows.row_count * x.cols(), out);
  }
  return part;
}

ops::Matrix logit_rows(const ops::Matrix& x, std::span<const SequenceChunk> chunks) {
  RecycledVector<int64_t> wanted;
  int64_t row = 0;
  for (const SequenceChunk& chunk : chunks) {
    const auto count = static_cast<int64_t>(chunk.tokens.size());
    for (int64_t i = 0; i < count; ++i) {
      const bool last = chunk.logits == LogitRows::Last && i + 1 == count;
      if (chunk.logits == LogitRows::All || last) wanted.push_back(row + i);
    }
    row += count;
  }
  ops::Matrix rows(static_cast<int64_t>(wanted.size()), x.cols());
  for (int64_t i = 0; i < rows.rows(); ++i) {
    const auto from = x.row(wanted[static_cast<size_t>(i)]);
    std::copy(from.begin(), from.end(), rows.row(i).begin());
  }
  return rows;
}

}  // namespace lethe::model
