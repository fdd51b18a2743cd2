#include "text/bpe.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace lethe {
namespace {

/// Room for longer words than this many bytes is given back after use.
constexpr size_t kRoomKept = size_t{64} << 10;

uint64_t heap_key(uint32_t rank, uint32_t position) {
  return (static_cast<uint64_t>(rank) << 32) | position;
}

template <typename T>
void release(std::vector<T>& room) {
  room.clear();
  room.shrink_to_fit();
}

}  // namespace

void BpeMerger::encode(std::string_view word, std::vector<int32_t>& out) {
  if (word.size() <= kShortWord) {
    encode_by_scan(word, out);
  } else if (merges_.is_ordered()) {
    encode_by_rank(word, out);
  } else {
    encode_by_heap(word, out);
  }
  if (word.size() > kRoomKept) release_room();
}

void BpeMerger::encode_by_scan(std::string_view word, std::vector<int32_t>& out) {
  const size_t first = out.size();
  for (const char c : word) out.push_back(byte_tokens_[static_cast<unsigned char>(c)]);
  auto& ranks = pair_ranks_;
  ranks.clear();
  for (size_t i = first; i + 1 < out.size(); ++i) {
    ranks.push_back(merges_.rank(out[i], out[i + 1]));
  }
  while (!ranks.empty()) {
    const auto lowest = std::min_element(ranks.begin(), ranks.end());
    if (*lowest == MergeTable::kNoRank) break;
    const auto at = static_cast<size_t>(lowest - ranks.begin());
    int32_t* ids = out.data() + first;
    ids[at] = merges_.result(*lowest);
    out.erase(out.begin() + static_cast<std::ptrdiff_t>(first + at + 1));
    ranks.erase(lowest);
    if (at > 0) ranks[at - 1] = merges_.rank(ids[at - 1], ids[at]);
    if (at < ranks.size()) ranks[at] = merges_.rank(ids[at], ids[at + 1]);
  }
  const auto begin = out.begin() + static_cast<std::ptrdiff_t>(first);
  out.erase(std::remove(begin, out.end(), kNoByteToken), out.end());
}

void BpeMerger::start_symbols(std::string_view word) {
  LETHE_CHECK(word.size() < size_t{1} << 31);
  const auto n = static_cast<uint32_t>(word.size());
  symbols_.resize(n);
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t id = byte_tokens_[static_cast<unsigned char>(word[i])];
    symbols_[i] = {id, MergeTable::kNoRank, i - 1, i + 1 < n ? i + 1 : kNone};
  }
  if (n > 0) symbols_[0].previous = kNone;
  for (uint32_t i = 0; i + 1 < n; ++i) {
    symbols_[i].rank = merges_.rank(symbols_[i].id, symbols_[i + 1].id);
  }
}

void BpeMerger::merge_at(uint32_t at, uint32_t rank) {
  Symbol& left = symbols_[at];
  Symbol& right = symbols_[left.next];
  left.id = merges_.result(rank);
  left.next = right.next;
  left.rank = MergeTable::kNoRank;
  right.id = kMerged;
  if (left.next != kNone) {
    symbols_[left.next].previous = at;
    left.rank = merges_.rank(left.id, symbols_[left.next].id);
  }
  if (left.previous != kNone) {
    Symbol& before = symbols_[left.previous];
    before.rank = merges_.rank(before.id, left.id);
  }
}

void BpeMerger::emit_symbols(std::vector<int32_t>& out) const {
  if (symbols_.empty()) return;
  for (uint32_t i = 0; i != kNone; i = symbols_[i].next) {
    if (symbols_[i].id != kNoByteToken) out.push_back(symbols_[i].id);
  }
}

void BpeMerger::encode_by_heap(std::string_view word, std::vector<int32_t>& out) {
  start_symbols(word);
  heap_.clear();
  const auto push = [&](uint32_t position) {
    if (position == kNone || symbols_[position].rank == MergeTable::kNoRank) return;
    heap_.push_back(heap_key(symbols_[position].rank, position));
    std::push_heap(heap_.begin(), heap_.end(), std::greater<>{});
  };
  for (uint32_t i = 0; i < symbols_.size(); ++i) push(i);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>{});
    const auto rank = static_cast<uint32_t>(heap_.back() >> 32);
    const auto at = static_cast<uint32_t>(heap_.back());
    heap_.pop_back();
    // The pair may have changed since it was pushed.
    if (symbols_[at].id == kMerged || symbols_[at].rank != rank) continue;
    merge_at(at, rank);
    push(at);
    push(symbols_[at].previous);
  }
  emit_symbols(out);
}

void BpeMerger::push_position(uint32_t rank, uint32_t position) {
  uint32_t node = free_node_;
  if (node == kNone) {
    node = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back({});
  } else {
    free_node_ = nodes_[node].next;
  }
  uint32_t& list = list_of_rank_[rank];
  if (list == kNone) {
    open_ranks_.push_back(rank);
    std::push_heap(open_ranks_.begin(), open_ranks_.end(), std::greater<>{});
  }
  nodes_[node] = {position, list};
  list = node;
}

void BpeMerger::take_positions(uint32_t rank) {
  positions_.clear();
  for (uint32_t node = list_of_rank_[rank]; node != kNone;) {
    const uint32_t next = nodes_[node].next;
    positions_.push_back(nodes_[node].position);
    nodes_[node].next = free_node_;
    free_node_ = node;
    node = next;
  }
  list_of_rank_[rank] = kNone;
  // A list is filled mostly from left to right, and so comes out reversed.
  std::reverse(positions_.begin(), positions_.end());
  if (!std::is_sorted(positions_.begin(), positions_.end())) {
    std::sort(positions_.begin(), positions_.end());
  }
}

void BpeMerger::encode_by_rank(std::string_view word, std::vector<int32_t>& out) {
  LETHE_CHECK(merges_.is_ordered());
  start_symbols(word);
  list_of_rank_.resize(merges_.size(), kNone);
  const auto push = [&](uint32_t position) {
    if (position == kNone || symbols_[position].rank == MergeTable::kNoRank) return;
    push_position(symbols_[position].rank, position);
  };
  for (uint32_t i = 0; i < symbols_.size(); ++i) push(i);
  while (!open_ranks_.empty()) {
    std::pop_heap(open_ranks_.begin(), open_ranks_.end(), std::greater<>{});
    const uint32_t rank = open_ranks_.back();
    open_ranks_.pop_back();
    take_positions(rank);
    for (const uint32_t at : positions_) {
      // The pair may have changed since it was pushed.
      if (symbols_[at].id == kMerged || symbols_[at].rank != rank) continue;
      merge_at(at, rank);
      push(at);
      push(symbols_[at].previous);
    }
  }
  emit_symbols(out);
}

void BpeMerger::release_room() {
  release(symbols_);
  release(heap_);
  release(nodes_);
  release(positions_);
  free_node_ = kNone;
}

}  // namespace lethe
