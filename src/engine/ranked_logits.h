#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/softmax_weights.h"

namespace lethe::engine {

/// The logits of a row from the most to the least probable (ties: lower place first), and how many
/// of them are kept. Never sorts the row: a histogram finds the place of a cut, and only those of
/// its one bucket are put in order. Those at -infinity are not in it. One thread; the spans must
/// outlive it.
class RankedLogits {
 public:
  /// logits: [n], sane, with at least one above -infinity; `range` theirs; `weights` for range.max.
  RankedLogits(std::span<const float> logits, LogitRange range, const SoftmaxWeights& weights);

  /// Keeps at most the first `count` (>= 1) of what is kept.
  void keep_count(int64_t count);
  /// Keeps the fewest first ones whose weight is at least this, of what is kept; at least one.
  void keep_weight(double weight);

  /// Weight of what is kept.
  double weight() const { return weight_; }

  /// Places in the row of what is kept, ascending.
  std::vector<int32_t> places() const;

 private:
  struct Member {
    float logit;
    int32_t place;
    bool operator<(const Member& other) const {
      return logit != other.logit ? logit > other.logit : place < other.place;
    }
  };
  std::vector<Member> members_of(size_t bucket) const;
  double weight_of(float logit) const;
  /// Ends the kept ones with `last`, of `bucket`.
  void cut(size_t bucket, Member last, int64_t count, double weight);

  std::span<const float> logits_;
  const SoftmaxWeights& weights_;
  std::vector<uint16_t> bucket_of_;  // [n]
  std::vector<int64_t> counts_;      // by bucket, the most probable first
  std::vector<double> sums_;         // of weights, by bucket

  size_t last_bucket_;  // the kept ones are those of the buckets before it, and of it
  Member last_;         // those not behind this one
  int64_t count_ = 0;
  double weight_ = 0;
};

}  // namespace lethe::engine
