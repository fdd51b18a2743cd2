#pragma once

#include <cstdint>
#include <span>

#include "base/recycled_memory.h"
#include "model/sequence_state.h"
#include "ops/matrix.h"

namespace lethe::model {

/// Which rows of a chunk want logits.
enum class LogitRows : uint8_t { None, Last, All };

/// The next tokens of one sequence.
struct SequenceChunk {
  SequenceState* state = nullptr;
  std::span<const int32_t> tokens;
  LogitRows logits = LogitRows::All;
  /// Nothing is wanted of these tokens but what tokens `Model::narrowing_rows()` further on depend
  /// on: models that can do without some layers for them (V4.1) leave those out. Wants no logits.
  bool narrow = false;
};

/// The rows of one sequence within a batch, at consecutive positions.
struct SequenceRows {
  SequenceState* state = nullptr;
  int64_t row_begin = 0;
  int64_t row_count = 0;
  int64_t position = 0;  ///< of the first row
  bool narrow = false;   ///< SequenceChunk::narrow
};

/// Several sequences' next tokens as rows of one matrix.
struct Batch {
  RecycledVector<int32_t> tokens;     // [rows]
  RecycledVector<int64_t> positions;  // [rows]
  RecycledVector<SequenceRows> sequences;
  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }

  /// Throws Error if a chunk is empty, would pass `max_positions`, or names a token outside
  /// [0, vocab_size); nothing has been changed then.
  static Batch of(std::span<const SequenceChunk> chunks, int64_t vocab_size, int64_t max_positions);

  bool has_narrow() const;
  /// The rows of its narrow, or of its other sequences, as a batch of their own.
  Batch only(bool narrow) const;
};

/// The rows of `x` (one per row of `batch`) that belong to its narrow, or to its other sequences.
ops::Matrix rows_of(const ops::Matrix& x, const Batch& batch, bool narrow);

/// The rows of `x` (one per token of the chunks, in order) that want logits.
ops::Matrix logit_rows(const ops::Matrix& x, std::span<const SequenceChunk> chunks);

}  // namespace lethe::model
