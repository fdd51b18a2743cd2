#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace lethe {

/// The ids of words met before: text repeats its words, and a lookup is much cheaper than merging.
/// Of a fixed size (512 KiB): a new word takes the place of the one that shares its slot. One
/// thread at a time.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 26;  ///< of a word
  static constexpr size_t kMaxIds = 8;

  WordCache() : entries_(kEntries) {}

  /// Appends the ids of a word that is here, and returns true.
  bool find(std::string_view word, std::vector<int32_t>& out) const {
    if (word.empty() || word.size() > kMaxBytes) return false;
    const Entry& entry = entries_[slot_of(word)];
    if (entry.bytes != word.size() || std::memcmp(entry.text.data(), word.data(), word.size()) != 0)
      return false;
    out.insert(out.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
    return true;
  }

  /// Remembers the word if it and its ids are short enough.
  void insert(std::string_view word, std::span<const int32_t> ids) {
    if (word.empty() || word.size() > kMaxBytes || ids.size() > kMaxIds) return;
    Entry& entry = entries_[slot_of(word)];
    entry.bytes = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(ids.size());
    std::memcpy(entry.text.data(), word.data(), word.size());
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
  }

 private:
  struct alignas(64) Entry {
    std::array<int32_t, kMaxIds> ids = {};
    uint8_t bytes = 0;  // 0: empty
    uint8_t count = 0;
    std::array<char, kMaxBytes> text = {};
  };
  static_assert(sizeof(Entry) == 64);
  static constexpr size_t kEntries = 8192;

  static size_t slot_of(std::string_view word) {
    return std::hash<std::string_view>{}(word) % kEntries;
  }

  std::vector<Entry> entries_;
};

}  // namespace lethe
