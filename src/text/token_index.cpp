#include "text/token_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>

#include "base/check.h"

namespace lethe {
namespace {

uint32_t hash_of(std::string_view text) {
  return static_cast<uint32_t>(std::hash<std::string_view>{}(text));
}

}  // namespace

TokenIndex::TokenIndex(size_t count) : slots_(std::bit_ceil(std::max<size_t>(2 * count, 16))) {
  entries_.reserve(count);
}

size_t TokenIndex::slot_of(std::string_view text, uint32_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t i = hash & mask;
  while (slots_[i].entry != 0) {
    if (slots_[i].hash == hash && entries_[slots_[i].entry - 1].text == text) break;
    i = (i + 1) & mask;
  }
  return i;
}

std::optional<int32_t> TokenIndex::insert(std::string_view text, int32_t id) {
  const uint32_t hash = hash_of(text);
  Slot& slot = slots_[slot_of(text, hash)];
  if (slot.entry != 0) return entries_[slot.entry - 1].id;
  LETHE_CHECK(2 * entries_.size() < slots_.size());
  entries_.push_back({text, id});
  slot = {hash, static_cast<uint32_t>(entries_.size())};
  return std::nullopt;
}

std::optional<int32_t> TokenIndex::find(std::string_view text) const {
  const Slot& slot = slots_[slot_of(text, hash_of(text))];
  if (slot.entry == 0) return std::nullopt;
  return entries_[slot.entry - 1].id;
}

void TokenIndex::find_all(std::span<const std::string_view> texts, std::span<int32_t> ids) const {
  LETHE_CHECK(texts.size() == ids.size());
  // A block's slots, then its entries, then its texts are on their way while the others are asked
  // for; only the first slot of a chain is foreseen.
  constexpr size_t kBlock = 64;
  std::array<uint32_t, kBlock> hashes;
  const size_t mask = slots_.size() - 1;
  for (size_t begin = 0; begin < texts.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, texts.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      hashes[i] = hash_of(texts[begin + i]);
      __builtin_prefetch(&slots_[hashes[i] & mask]);
    }
    const auto likely_entry = [&](size_t i) -> const Entry* {
      const Slot& slot = slots_[hashes[i] & mask];
      return slot.entry == 0 ? nullptr : &entries_[slot.entry - 1];
    };
    for (size_t i = 0; i < count; ++i) __builtin_prefetch(likely_entry(i));
    for (size_t i = 0; i < count; ++i) {
      if (const Entry* entry = likely_entry(i)) __builtin_prefetch(entry->text.data());
    }
    for (size_t i = 0; i < count; ++i) {
      const Slot& slot = slots_[slot_of(texts[begin + i], hashes[i])];
      ids[begin + i] = slot.entry == 0 ? kAbsent : entries_[slot.entry - 1].id;
    }
  }
}

}  // namespace lethe
