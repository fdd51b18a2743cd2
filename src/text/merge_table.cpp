#include "text/merge_table.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace lethe {

MergeTable::MergeTable(std::vector<Merge> merges) {
  LETHE_CHECK(merges.size() <= kMaxMerges);
  const size_t slots = std::bit_ceil(std::max<size_t>(2 * merges.size(), 16));
  slots_.assign(slots, kEmpty);
  mask_ = slots - 1;
  results_.reserve(merges.size());
  for (const Merge& merge : merges) {
    for (const int32_t id : {merge.left, merge.right, merge.result}) {
      LETHE_CHECK(id >= 0 && id < kMaxTokens);
    }
    insert(key_of(merge.left, merge.right), static_cast<uint32_t>(results_.size()));
    results_.push_back(merge.result);
  }
  is_ordered_ = find_order(merges);
}

void MergeTable::insert(uint64_t key, uint32_t rank) {
  size_t i = home_of(key);
  while (slots_[i] != kEmpty && slots_[i] >> kRankBits != key) i = (i + 1) & mask_;
  slots_[i] = (key << kRankBits) | rank;
}

bool MergeTable::find_order(std::span<const Merge> merges) const {
  int32_t top = -1;
  for (const Merge& merge : merges) {
    top = std::max({top, merge.left, merge.right, merge.result});
  }
  std::vector<int64_t> last_made(static_cast<size_t>(top + 1), -1);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    last_made[static_cast<size_t>(merges[rank].result)] = static_cast<int64_t>(rank);
  }
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const auto here = static_cast<int64_t>(rank);
    if (last_made[static_cast<size_t>(merge.left)] >= here) return false;
    if (last_made[static_cast<size_t>(merge.right)] >= here) return false;
  }
  return true;
}

}  // namespace lethe
