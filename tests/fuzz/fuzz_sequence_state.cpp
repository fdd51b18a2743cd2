// Saved sequence states: any bytes are restored or refused, and what was restored can be saved,
// taken back and continued.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/error.h"
#include "model/sequence_state.h"

namespace {

using lethe::model::LayerCacheLayout;
using lethe::model::SequenceState;
using lethe::model::StateLayout;

std::shared_ptr<const StateLayout> small_layout() {
  auto layout = std::make_shared<StateLayout>();
  layout->fingerprint = 0x1122334455667788u;
  layout->window = 8;
  layout->max_positions = 200;
  layout->history_tokens = 3;
  layout->layers = {LayerCacheLayout{.window_row_bytes = 8},
                    LayerCacheLayout{.window_row_bytes = 8,
                                     .ratio = 4,
                                     .overlap = true,
                                     .compressed_row_bytes = 8,
                                     .tail_row_bytes = 16,
                                     .index_row_bytes = 4,
                                     .index_tail_row_bytes = 16}};
  layout->drafts = {LayerCacheLayout{.window_row_bytes = 8}};
  return layout;
}

/// A state that has taken in `tokens` tokens, saved.
std::vector<std::byte> valid_bytes(const std::shared_ptr<const StateLayout>& layout,
                                   int64_t tokens) {
  SequenceState state(layout);
  for (int64_t i = 0; i < 2; ++i) {
    lethe::model::LayerCache& cache = state.layer(i);
    cache.window.append(tokens);
    if (i == 0) continue;
    cache.compressed.append(tokens / 4);
    cache.index_keys.append(tokens / 4);
    cache.compressor_tail.append(tokens);
    cache.index_tail.append(tokens);
  }
  state.history().append(tokens);
  state.advance(tokens);
  return state.snapshot();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto layout = small_layout();
  // Damage to a valid state gets past the first checks: xor the input into one.
  std::vector<std::byte> bytes = valid_bytes(layout, size > 0 ? data[0] % 180 + 1 : 1);
  for (size_t i = 1; i + 1 < size; i += 2) {
    bytes[(data[i] * 13u + i) % bytes.size()] ^= static_cast<std::byte>(data[i + 1]);
  }
  for (const std::span<const std::byte> input :
       {std::span<const std::byte>(bytes), std::as_bytes(std::span(data, size))}) {
    SequenceState state(layout);
    try {
      state.restore(input);
    } catch (const lethe::IoError&) {
      continue;
    }
    if (state.snapshot().size() != input.size()) __builtin_trap();
    state.truncate(state.position() > 3 ? state.position() - 3 : 0);
    state.layer(0).window.append(1);
    if (state.size_bytes() < 8) __builtin_trap();
  }
  return 0;
}
