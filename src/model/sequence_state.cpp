#include "model/sequence_state.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/error.h"

namespace lethe::model {

namespace {

constexpr char kMagic[8] = {'L', 'E', 'T', 'H', 'E', 'S', 'T', '1'};
constexpr int64_t kWindowPageRows = 32;
constexpr int64_t kEntryPageRows = 64;
constexpr int64_t kTailPageRows = 16;
constexpr int64_t kHistoryPageRows = 64;

ops::RowStore make_store(int64_t row_bytes, int64_t rows_per_page) {
  return row_bytes > 0 ? ops::RowStore(row_bytes, rows_per_page) : ops::RowStore();
}

LayerCache make_cache(const LayerCacheLayout& layout) {
  return LayerCache{
      .window = make_store(layout.window_row_bytes, kWindowPageRows),
      .compressed = make_store(layout.compressed_row_bytes, kEntryPageRows),
      .compressor_tail = make_store(layout.tail_row_bytes, kTailPageRows),
      .index_keys = make_store(layout.index_row_bytes, kEntryPageRows),
      .index_tail = make_store(layout.index_tail_row_bytes, kTailPageRows),
  };
}

/// Pages that hold `rows` rows wherever they begin, in bytes.
int64_t page_bytes(int64_t row_bytes, int64_t rows, int64_t rows_per_page) {
  if (row_bytes <= 0) return 0;
  const int64_t pages = (rows + rows_per_page - 1) / rows_per_page + 1;
  return pages * rows_per_page * row_bytes;
}

/// Rows of unfinished groups that a state may hold: those of its own group, those that a rollback
/// can need, and the group before where entries overlap.
int64_t tail_rows(const LayerCacheLayout& layer, int64_t rollback) {
  return layer.ratio * (layer.overlap ? 2 : 1) + rollback;
}

int64_t rolling_bytes_of(const LayerCacheLayout& layer, int64_t window, int64_t rollback) {
  return page_bytes(layer.window_row_bytes, window + rollback, kWindowPageRows) +
         page_bytes(layer.tail_row_bytes, tail_rows(layer, rollback), kTailPageRows) +
         page_bytes(layer.index_tail_row_bytes, tail_rows(layer, rollback), kTailPageRows);
}

}  // namespace

int64_t StateLayout::rolling_bytes() const {
  int64_t bytes = page_bytes(history_tokens > 0 ? int64_t{sizeof(int32_t)} : 0,
                             history_tokens + rollback_tokens, kHistoryPageRows);
  for (const auto* caches : {&layers, &drafts}) {
    for (const LayerCacheLayout& layer : *caches) {
      bytes += rolling_bytes_of(layer, window, rollback_tokens);
    }
  }
  return bytes;
}

int64_t StateLayout::bytes_at(int64_t positions) const {
  int64_t bytes = rolling_bytes();
  for (const LayerCacheLayout& layer : layers) {
    const int64_t entries = layer.ratio > 0 ? positions / layer.ratio : 0;
    bytes += page_bytes(layer.compressed_row_bytes, entries, kEntryPageRows) +
             page_bytes(layer.index_row_bytes, entries, kEntryPageRows);
  }
  return bytes;
}

SequenceState::SequenceState(std::shared_ptr<const StateLayout> layout)
    : layout_(std::move(layout)),
      history_(make_store(layout_->history_tokens > 0 ? int64_t{sizeof(int32_t)} : 0,
                          kHistoryPageRows)) {
  for (const LayerCacheLayout& l : layout_->layers) layers_.push_back(make_cache(l));
  for (const LayerCacheLayout& l : layout_->drafts) drafts_.push_back(make_cache(l));
}

int64_t SequenceState::tail_begin(const LayerCacheLayout& layout, int64_t position) {
  if (layout.ratio == 0) return position;
  const int64_t group = position / layout.ratio;
  return std::max<int64_t>(0, (group - (layout.overlap ? 1 : 0)) * layout.ratio);
}

template <typename Visit>
void SequenceState::for_each_store(Visit&& visit) {
  for (auto* caches : {&layers_, &drafts_}) {
    for (LayerCache& cache : *caches) {
      for (ops::RowStore* store : {&cache.window, &cache.compressed, &cache.compressor_tail,
                                   &cache.index_keys, &cache.index_tail}) {
        if (store->used()) visit(*store);
      }
    }
  }
  if (history_.used()) visit(history_);
}

void SequenceState::advance(int64_t count) {
  position_ += count;
  trim();
}

void SequenceState::advance_narrow(int64_t count, int64_t first_layer, int64_t rows) {
  for (size_t i = static_cast<size_t>(first_layer); i < layers_.size(); ++i) {
    layers_[i].window.skip(count);
  }
  // Drafts that were fed so far cannot be fed what was not computed. They guess with what they get.
  for (LayerCache& cache : drafts_) {
    if (cache.window.end() == position_ - layout_->draft_lag) cache.window.skip(count);
  }
  exact_from_ = position_ + count + rows;
  advance(count);
}

void SequenceState::trim() {
  const int64_t oldest = std::max<int64_t>(0, position_ - layout_->rollback_tokens);
  const int64_t window_begin = std::max<int64_t>(0, oldest - (layout_->window - 1));
  for (size_t i = 0; i < layers_.size(); ++i) {
    LayerCache& cache = layers_[i];
    cache.window.trim(window_begin);
    const int64_t tail = tail_begin(layout_->layers[i], oldest);
    cache.compressor_tail.trim(tail);
    cache.index_tail.trim(tail);
  }
  // Drafts are fed at their own pace: what they need is counted from their own end.
  for (LayerCache& cache : drafts_) {
    cache.window.trim(cache.window.end() - layout_->rollback_tokens - (layout_->window - 1));
  }
  history_.trim(std::max<int64_t>(0, oldest - layout_->history_tokens));
}

/// Drops rows that belong to `position` and later, where a store has any.
void SequenceState::cut_stores(int64_t position) {
  const auto cut = [](ops::RowStore& store, int64_t end) {
    if (store.used()) store.truncate(std::max(store.begin(), std::min(store.end(), end)));
  };
  for (size_t i = 0; i < layers_.size(); ++i) {
    LayerCache& cache = layers_[i];
    const int64_t ratio = std::max<int64_t>(1, layout_->layers[i].ratio);
    cut(cache.window, position);
    cut(cache.compressed, position / ratio);
    cut(cache.index_keys, position / ratio);
    cut(cache.compressor_tail, position);
    cut(cache.index_tail, position);
  }
  for (LayerCache& cache : drafts_) cut(cache.window, position - layout_->draft_lag);
  cut(history_, position);
}

void SequenceState::abandon() {
  cut_stores(position_);
}

void SequenceState::truncate(int64_t position) {
  LETHE_CHECK(position >= 0 && position <= position_);
  if (position == 0) {
    *this = SequenceState(layout_);
    return;
  }
  if (!can_truncate(position)) {
    throw Error(
        "cannot go back from position {} to {}: only the last {} tokens can be taken back; "
        "restore a snapshot of an earlier position instead",
        position_, position, layout_->rollback_tokens);
  }
  cut_stores(position);
  position_ = position;
}

bool SequenceState::can_truncate(int64_t position) const noexcept {
  if (position < 0 || position > position_) return false;
  if (position == 0 || position == position_) return true;
  return position >= position_ - layout_->rollback_tokens && position >= exact_from_ &&
         holds_rows_for(position);
}

/// Whether the rows that a continuation from `position` reads are still here.
bool SequenceState::holds_rows_for(int64_t position) const noexcept {
  const auto holds = [](const ops::RowStore& store, int64_t begin) {
    return !store.used() || store.begin() <= std::max<int64_t>(0, begin);
  };
  bool all = holds(history_, position - layout_->history_tokens);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerCache& cache = layers_[i];
    const int64_t tail = tail_begin(layout_->layers[i], position);
    all = all && holds(cache.window, position - (layout_->window - 1)) &&
          holds(cache.compressor_tail, tail) && holds(cache.index_tail, tail);
  }
  return all;
}

int64_t SequenceState::size_bytes() const noexcept {
  int64_t bytes = 0;
  const_cast<SequenceState*>(this)->for_each_store(
      [&](const ops::RowStore& store) { bytes += store.size_bytes(); });
  return bytes;
}

void SequenceState::for_each_page(
    const std::function<void(const std::byte* page, int64_t bytes)>& visit) const {
  const_cast<SequenceState*>(this)->for_each_store(
      [&](const ops::RowStore& store) { store.for_each_page(visit); });
}

std::vector<std::byte> SequenceState::snapshot() const {
  LETHE_CHECK(is_exact(), "a state within a narrow prompt was to be saved");
  std::vector<std::byte> out;
  append_bytes(out, kMagic, sizeof(kMagic));
  append_value(out, layout_->fingerprint);
  append_value(out, position_);
  const_cast<SequenceState*>(this)->for_each_store(
      [&](const ops::RowStore& store) { store.serialize(out); });
  return out;
}

void SequenceState::restore(std::span<const std::byte> bytes) {
  constexpr size_t kHeader = sizeof(kMagic) + sizeof(uint64_t) + sizeof(int64_t);
  if (bytes.size() < kHeader || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    throw IoError("these bytes are not a saved sequence state");
  }
  uint64_t fingerprint = 0;
  int64_t position = 0;
  std::memcpy(&fingerprint, bytes.data() + sizeof(kMagic), sizeof(fingerprint));
  std::memcpy(&position, bytes.data() + sizeof(kMagic) + sizeof(fingerprint), sizeof(position));
  if (fingerprint != layout_->fingerprint) {
    throw IoError("this sequence state was saved by another model or numerics mode");
  }
  if (position < 0 || position > layout_->max_positions) {
    throw IoError("saved state claims position {}, the model's limit is {}", position,
                  layout_->max_positions);
  }
  SequenceState loaded(layout_);
  loaded.position_ = position;
  std::span<const std::byte> rest = bytes.subspan(kHeader);
  loaded.for_each_store(
      [&](ops::RowStore& store) { store.deserialize(rest, layout_->max_positions); });
  if (!rest.empty()) throw IoError("saved state has {} bytes too many", rest.size());
  loaded.check_consistent();
  *this = std::move(loaded);
}

void SequenceState::check_consistent() const {
  const auto require = [&](const ops::RowStore& store, int64_t begin_max, int64_t end) {
    if (store.used() && (store.begin() > begin_max || store.end() != end)) {
      throw IoError("saved state is damaged: rows [{}, {}) do not fit position {}", store.begin(),
                    store.end(), position_);
    }
  };
  const int64_t window_begin = std::max<int64_t>(0, position_ - (layout_->window - 1));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerCache& cache = layers_[i];
    const LayerCacheLayout& rules = layout_->layers[i];
    const int64_t entries = rules.ratio > 0 ? position_ / rules.ratio : 0;
    const int64_t tail = tail_begin(rules, position_);
    require(cache.window, window_begin, position_);
    require(cache.compressed, 0, entries);
    require(cache.index_keys, 0, entries);
    require(cache.compressor_tail, tail, position_);
    require(cache.index_tail, tail, position_);
  }
  for (const LayerCache& cache : drafts_) {
    if (cache.window.end() > position_) {
      throw IoError("saved state is damaged: draft rows reach past position {}", position_);
    }
  }
  require(history_, std::max<int64_t>(0, position_ - layout_->history_tokens), position_);
}

}  // namespace lethe::model
