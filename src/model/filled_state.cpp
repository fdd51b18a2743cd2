#include "model/filled_state.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace lethe::model {

namespace {

constexpr int64_t kStep = 4096;
constexpr int64_t kPattern = 64;  // rows that are repeated

/// Appends rows until `end`, copies of the rows it holds in turn.
void repeat_rows(ops::RowStore& store, int64_t end) {
  if (!store.used() || store.end() >= end) return;
  const int64_t first = store.begin();
  const int64_t held = std::min(store.end() - first, kPattern);
  LETHE_CHECK(held > 0, "a state without a row of each kind cannot be filled");
  const auto row_bytes = static_cast<size_t>(store.row_bytes());
  // Pages may be copied while rows are added: take the rows out first.
  std::vector<std::byte> rows(static_cast<size_t>(held) * row_bytes);
  for (int64_t r = 0; r < held; ++r) {
    std::memcpy(rows.data() + static_cast<size_t>(r) * row_bytes, store.row(first + r), row_bytes);
  }
  for (int64_t to = store.append(end - store.end()); to < end; ++to) {
    const auto from = static_cast<size_t>((to - first) % held);
    std::memcpy(store.mutable_row(to), rows.data() + from * row_bytes, row_bytes);
  }
}

void fill_layer(LayerCache& cache, const LayerCacheLayout& layout, int64_t position) {
  const int64_t entries = layout.ratio > 0 ? position / layout.ratio : 0;
  repeat_rows(cache.window, position);
  repeat_rows(cache.compressed, entries);
  repeat_rows(cache.index_keys, entries);
  repeat_rows(cache.compressor_tail, position);
  repeat_rows(cache.index_tail, position);
}

}  // namespace

void fill_state(SequenceState& state, int64_t position) {
  LETHE_CHECK(position <= state.layout().max_positions);
  while (state.position() < position) {
    // In steps, so that rows which only pass through a window do not pile up.
    const int64_t step = std::min(kStep, position - state.position());
    const int64_t reached = state.position() + step;
    for (size_t i = 0; i < state.layout().layers.size(); ++i) {
      fill_layer(state.layer(static_cast<int64_t>(i)), state.layout().layers[i], reached);
    }
    repeat_rows(state.history(), reached);
    state.advance(step);
  }
}

}  // namespace lethe::model
