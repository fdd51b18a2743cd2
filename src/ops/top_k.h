#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lethe::ops {

/// The k best of scored items that come by in runs: one pass, memory for a few k, and none anew
/// once it has been used with as large a k. Better is the higher score, then the lower number, so
/// the choice does not depend on the runs, their order, or who offers them. Items of score
/// -infinity or NaN are never chosen; -0 equals 0. One thread.
class TopK {
 public:
  /// Forgets all items; k >= 0.
  void reset(int64_t k);

  /// Items first, first + 1, ... with these scores.
  void offer(std::span<const float> scores, int64_t first);
  void offer(float score, int64_t number) { offer(std::span(&score, 1), number); }
  /// The items that `other` may still choose.
  void offer(const TopK& other);

  /// Numbers of the chosen items, best first; at most k. Returns how many were written.
  int64_t best(std::span<int32_t> out);
  /// The same in ascending order of numbers.
  int64_t ascending(std::span<int32_t> out);
  int64_t size();  ///< how many best() would write

 private:
  void compact();
  void choose();

  // An item is one integer: the complement of the score's order above, the number below; the
  // smaller the better.
  std::vector<uint64_t> items_;
  size_t k_ = 0;
  size_t limit_ = 0;            ///< items held before the worst are dropped
  float threshold_ = 0;         ///< of the k-th best so far, once there are k
  int64_t threshold_item_ = 0;  ///< its number
};

/// Indices of the k largest scores, best first; ties go to the lower index. Fewer if there are
/// fewer scores, or if the rest are -infinity. Pure; any thread.
std::vector<int32_t> top_k(std::span<const float> scores, int64_t k);
/// The same, written to `out`, which has room for k. Returns how many there are.
int64_t top_k(std::span<const float> scores, int64_t k, std::span<int32_t> out);

}  // namespace lethe::ops
