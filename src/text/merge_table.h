#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lethe {

/// The merges of a byte-pair encoding: which two neighbouring tokens become one, and which pair
/// goes first. Immutable; any thread.
class MergeTable {
 public:
  /// A merge's rank is its place in the list: the lower goes first.
  struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
  };
  static constexpr uint32_t kNoRank = UINT32_MAX;
  static constexpr int32_t kMaxTokens = (1 << 20) - 1;
  static constexpr size_t kMaxMerges = (size_t{1} << 24) - 1;

  MergeTable() : MergeTable(std::vector<Merge>{}) {}
  /// Ids are in [0, kMaxTokens) and there are at most kMaxMerges merges (LETHE_CHECK). If a pair
  /// stands in the list twice, its last rank counts, as in the reference tokenizer.
  explicit MergeTable(std::vector<Merge> merges);

  /// Rank of the pair, or kNoRank if it does not merge; ids below 0 never do.
  uint32_t rank(int32_t left, int32_t right) const noexcept {
    const uint64_t key = key_of(left, right);
    for (size_t i = home_of(key);; i = (i + 1) & mask_) {
      const uint64_t slot = slots_[i];
      if (slot >> kRankBits == key) return static_cast<uint32_t>(slot & kRankMask);
      if (slot == kEmpty) return kNoRank;
    }
  }
  int32_t result(uint32_t rank) const noexcept { return results_[rank]; }
  size_t size() const noexcept { return results_.size(); }

  /// Whether every merge that makes a token ranks before every merge that uses it, as training
  /// leaves it: then applying a merge never enables one that should have gone earlier.
  bool is_ordered() const noexcept { return is_ordered_; }

 private:
  static constexpr int kRankBits = 24;
  static constexpr uint64_t kRankMask = (uint64_t{1} << kRankBits) - 1;
  // No pair has this key: kMaxTokens leaves its ids out.
  static constexpr uint64_t kEmpty = UINT64_MAX;

  static uint64_t key_of(int32_t left, int32_t right) noexcept {
    return (static_cast<uint64_t>(left) << 20) | static_cast<uint64_t>(right);
  }
  size_t home_of(uint64_t key) const noexcept {
    const uint64_t mixed = (key ^ (key >> 23)) * 0x9E3779B97F4A7C15u;
    return (mixed ^ (mixed >> 32)) & mask_;
  }
  void insert(uint64_t key, uint32_t rank);
  bool find_order(std::span<const Merge> merges) const;

  std::vector<uint64_t> slots_;  // key << 24 | rank, open addressing
  size_t mask_ = 0;
  std::vector<int32_t> results_;  // [rank]
  bool is_ordered_ = true;
};

}  // namespace lethe
