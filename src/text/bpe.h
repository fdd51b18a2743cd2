#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/merge_table.h"

namespace lethe {

/// In a table of byte tokens: the vocabulary has no token for this byte.
inline constexpr int32_t kNoByteToken = -1;

/// Byte-pair encoding of one word: start from its bytes and, while any neighbours merge, merge the
/// pair of lowest rank, the leftmost of equals. A byte without a token merges with nothing and is
/// left out of the ids.
///
/// The three ways below give the same ids; encode() chooses. One object belongs to one thread at a
/// time: it holds the room that long words need. The table must outlive it.
class BpeMerger {
 public:
  /// `byte_tokens`: id of the token of each byte.
  BpeMerger(const MergeTable& merges, const std::array<int32_t, 256>& byte_tokens)
      : merges_(merges), byte_tokens_(byte_tokens) {}

  /// Appends the ids of `word`, which has fewer than 2^31 bytes.
  void encode(std::string_view word, std::vector<int32_t>& out);

  /// Looks for the lowest rank anew after each merge: quadratic, quickest up to kShortWord bytes.
  void encode_by_scan(std::string_view word, std::vector<int32_t>& out);
  /// A heap of all pairs: O(n log n) for any table.
  void encode_by_heap(std::string_view word, std::vector<int32_t>& out);
  /// The positions of each rank in a list of their own, rank after rank: linear but for sorting
  /// lists that are not in order. Only for tables with is_ordered().
  void encode_by_rank(std::string_view word, std::vector<int32_t>& out);

  static constexpr size_t kShortWord = 48;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr int32_t kMerged = -2;
  /// A token of the word as it stands, kept at the position of its first byte.
  struct Symbol {
    int32_t id;         // kMerged: into the symbol before it
    uint32_t rank;      // of the pair with the next symbol
    uint32_t previous;  // positions; kNone at the ends
    uint32_t next;
  };
  struct ListNode {
    uint32_t position;
    uint32_t next;
  };

  void start_symbols(std::string_view word);
  /// Merges the symbol at `at` with the next one; ranks of the two new pairs are set.
  void merge_at(uint32_t at, uint32_t rank);
  void emit_symbols(std::vector<int32_t>& out) const;
  void push_position(uint32_t rank, uint32_t position);
  /// Empties the list of `rank` into positions_, ascending.
  void take_positions(uint32_t rank);
  void release_room();

  const MergeTable& merges_;
  const std::array<int32_t, 256>& byte_tokens_;
  std::vector<uint32_t> pair_ranks_;  // encode_by_scan
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> heap_;
  // encode_by_rank: lists of positions per rank, their nodes, and the ranks that have one.
  std::vector<uint32_t> list_of_rank_;
  std::vector<ListNode> nodes_;
  uint32_t free_node_ = kNone;
  std::vector<uint32_t> open_ranks_;
  std::vector<uint32_t> positions_;
};

}  // namespace lethe
