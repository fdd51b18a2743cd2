#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace lethe {

/// A dictionary from text to token id: a flat hash table, since a vocabulary has 130,000 entries
/// and loading should not be felt. The texts must outlive it. Lookups from any thread.
class TokenIndex {
 public:
  /// Room for `count` entries, and no more.
  explicit TokenIndex(size_t count);

  /// Adds the text and returns nothing; if it is there already, returns the id that
  /// it has.
  std::optional<int32_t> insert(std::string_view text, int32_t id);
  std::optional<int32_t> find(std::string_view text) const;
  /// Ids of many texts, kAbsent for those that are not here. Several times as quick as one by one,
  /// which spends its time waiting for memory.
  void find_all(std::span<const std::string_view> texts, std::span<int32_t> ids) const;
  static constexpr int32_t kAbsent = -1;

 private:
  struct Entry {
    std::string_view text;
    int32_t id;
  };
  struct Slot {
    uint32_t hash;
    uint32_t entry;  // index + 1; 0: empty
  };
  /// The slot of the text, or the empty slot where it would go.
  size_t slot_of(std::string_view text, uint32_t hash) const;

  std::vector<Slot> slots_;  // half of them empty at least
  std::vector<Entry> entries_;
};

}  // namespace lethe
