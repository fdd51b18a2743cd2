#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ops/row_store.h"

namespace lethe::model {

/// What one layer keeps of a sequence. Stores that a layer does not use have row size 0.
struct LayerCache {
  ops::RowStore window;           ///< row p = window entry of position p, the last W (+ rollback)
  ops::RowStore compressed;       ///< row j = compressed entry j
  ops::RowStore compressor_tail;  ///< row p = (value, gate) of position p, f32, unfinished groups
  ops::RowStore index_keys;       ///< row j = index key of entry j
  ops::RowStore index_tail;       ///< as compressor_tail, for the indexer's compressor
};

/// Row sizes and rules of one layer's cache.
struct LayerCacheLayout {
  int64_t window_row_bytes = 0;
  int64_t ratio = 0;     ///< tokens per compressed entry, 0: none here
  bool overlap = false;  ///< an entry also reads the group before its own
  int64_t compressed_row_bytes = 0;
  int64_t tail_row_bytes = 0;
  int64_t index_row_bytes = 0;
  int64_t index_tail_row_bytes = 0;
};

/// The shape of a model's memory of one sequence; shared by all its states.
struct StateLayout {
  uint64_t fingerprint = 0;  ///< of configuration and numerics; saved states carry it
  int64_t window = 0;        ///< W
  int64_t max_positions = 0;
  int64_t rollback_tokens = 16;  ///< how far truncate() can always go back
  int64_t history_tokens = 0;    ///< token ids kept for Engram's n-grams, 0: none
  int64_t draft_lag = 0;         ///< draft rows stand this many positions behind (V4 MTP: 1)
  std::vector<LayerCacheLayout> layers;
  std::vector<LayerCacheLayout> drafts;

  /// Memory of a state with `positions` tokens taken in, rounded up to whole pages: never less than
  /// its size_bytes(). Rows that only pass through during a forward pass are not counted.
  int64_t bytes_at(int64_t positions) const;
  /// The part of it that moves along with the sequence (windows, unfinished groups, last ids):
  /// what a fork that is kept costs beside a sequence that goes on, whose entries it shares.
  int64_t rolling_bytes() const;
};

/// What one sequence remembers after `position()` tokens: a value. Copying (fork) shares pages,
/// copy on write; snapshot and restore carry it as bytes; continuing from any of them gives bit for
/// bit what an undisturbed run gives. Source: design section 4, spec V4 section 5, V4.1 section 5.
/// One thread at a time per state; forks are independent of each other.
class SequenceState {
 public:
  explicit SequenceState(std::shared_ptr<const StateLayout> layout);

  int64_t position() const noexcept { return position_; }  ///< Tokens taken in so far.

  /// False while tokens taken in by narrow chunks are too near for what comes next to be computed
  /// exactly. Such a state only goes on with the chunks that follow; it cannot be saved.
  bool is_exact() const noexcept { return position_ >= exact_from_; }
  const StateLayout& layout() const noexcept { return *layout_; }

  /// An independent continuation from here.
  SequenceState fork() const { return *this; }

  /// Forgets the tokens from `position` on, as if they had never been taken in. Possible down to
  /// `rollback_tokens` before the furthest end so far (and to 0); throws Error below that.
  void truncate(int64_t position);
  /// Whether truncate(position) is possible; false for positions past the end.
  bool can_truncate(int64_t position) const noexcept;

  /// Self-contained bytes, for the same model and numerics only. Only of a state that is_exact().
  std::vector<std::byte> snapshot() const;
  /// Becomes what snapshot() saw. Throws IoError, and stays as it was, if the bytes are not a
  /// snapshot of this model, or damaged in a way that can be seen.
  void restore(std::span<const std::byte> bytes);

  /// Bytes of all pages, those shared with forks included.
  int64_t size_bytes() const noexcept;

  /// Calls visit(page, bytes) for every page held; forks that share a page give the same pointer.
  void for_each_page(const std::function<void(const std::byte* page, int64_t bytes)>& visit) const;

  // For the model's modules.
  LayerCache& layer(int64_t index) { return layers_[static_cast<size_t>(index)]; }
  LayerCache& draft(int64_t index) { return drafts_[static_cast<size_t>(index)]; }
  const LayerCache& layer(int64_t index) const { return layers_[static_cast<size_t>(index)]; }
  const LayerCache& draft(int64_t index) const { return drafts_[static_cast<size_t>(index)]; }
  ops::RowStore& history() noexcept { return history_; }  ///< row p = int32 token id of position p
  /// Marks `count` more tokens as taken in and forgets what no continuation needs.
  void advance(int64_t count);
  /// The same for a narrow chunk, of which layers from `first_layer` on have seen nothing: their
  /// windows begin anew behind it. Results are exact `rows` tokens later.
  void advance_narrow(int64_t count, int64_t first_layer, int64_t rows);
  /// Drops what a forward pass that failed half-way has appended.
  void abandon();
  /// First position whose compressor rows can still be needed with `position` tokens taken in.
  static int64_t tail_begin(const LayerCacheLayout& layout, int64_t position);

 private:
  template <typename Visit>
  void for_each_store(Visit&& visit);
  void trim();
  void cut_stores(int64_t position);
  void check_consistent() const;
  bool holds_rows_for(int64_t position) const noexcept;

  std::shared_ptr<const StateLayout> layout_;
  int64_t position_ = 0;
  int64_t exact_from_ = 0;  ///< first position from which results are exact
  std::vector<LayerCache> layers_;
  std::vector<LayerCache> drafts_;
  ops::RowStore history_;
};

}  // namespace lethe::model
