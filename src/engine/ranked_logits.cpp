#include "engine/ranked_logits.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>

#include "base/check.h"
#include "engine/softmax_weights.h"

namespace lethe::engine {

namespace {

constexpr size_t kBuckets = 2048;
constexpr uint16_t kNowhere = kBuckets;  // -infinity
/// Gaps beyond this share the last bucket: exp(-64) of the best token's weight is below the
/// rounding error of any sum it is in, so no share ends there.
constexpr double kWidestGap = 64;

}  // namespace

RankedLogits::RankedLogits(std::span<const float> logits, LogitRange range,
                           const SoftmaxWeights& weights)
    : logits_(logits),
      weights_(weights),
      bucket_of_(logits.size()),
      counts_(kBuckets + 1),
      sums_(kBuckets + 1),
      last_bucket_(kBuckets - 1),
      last_{-kInfinity, std::numeric_limits<int32_t>::max()} {
  const double widest = std::min(kWidestGap, weights.gap(range.min));
  const double scale = widest > 0 ? kBuckets / widest : 0;
  std::array<double, SoftmaxWeights::kBlock> block;
  for (size_t begin = 0; begin < logits.size(); begin += block.size()) {
    const size_t n = std::min(block.size(), logits.size() - begin);
    weights.fill(logits.subspan(begin, n), block.data());
    for (size_t i = 0; i < n; ++i) {
      const float logit = logits[begin + i];
      const double step = std::min(weights.gap(logit), widest) * scale;
      const auto bucket = std::min(static_cast<size_t>(step), kBuckets - 1);
      const size_t chosen = logit > -kInfinity ? bucket : kNowhere;
      bucket_of_[begin + i] = static_cast<uint16_t>(chosen);
      ++counts_[chosen];
      sums_[chosen] += block[i];
    }
  }
  for (size_t b = 0; b < kBuckets; ++b) {
    count_ += counts_[b];
    weight_ += sums_[b];
  }
  LETHE_CHECK(count_ > 0);
}

std::vector<RankedLogits::Member> RankedLogits::members_of(size_t bucket) const {
  std::vector<Member> members;
  members.reserve(static_cast<size_t>(counts_[bucket]));
  for (size_t i = 0; i < bucket_of_.size(); ++i) {
    if (bucket_of_[i] == bucket) members.push_back({logits_[i], static_cast<int32_t>(i)});
  }
  return members;
}

double RankedLogits::weight_of(float logit) const {
  double weight = 0;
  weights_.fill({&logit, 1}, &weight);
  return weight;
}

void RankedLogits::cut(size_t bucket, Member last, int64_t count, double weight) {
  last_bucket_ = bucket;
  last_ = last;
  count_ = count;
  weight_ = weight;
}

void RankedLogits::keep_count(int64_t count) {
  LETHE_CHECK(count >= 1);
  if (count >= count_) return;
  size_t bucket = 0;
  int64_t before = 0;
  double weight = 0;
  while (before + counts_[bucket] < count) {
    before += counts_[bucket];
    weight += sums_[bucket++];
  }
  std::vector<Member> members = members_of(bucket);
  const auto last = members.begin() + (count - before - 1);
  std::nth_element(members.begin(), last, members.end());
  for (auto member = members.begin(); member <= last; ++member) weight += weight_of(member->logit);
  cut(bucket, *last, count, weight);
}

void RankedLogits::keep_weight(double target) {
  size_t bucket = 0;
  int64_t count = 0;
  double weight = 0;
  while (bucket < last_bucket_ && (counts_[bucket] == 0 || weight + sums_[bucket] < target)) {
    count += counts_[bucket];
    weight += sums_[bucket++];
  }
  std::vector<Member> members = members_of(bucket);
  if (!std::ranges::is_sorted(members, std::less<>())) std::ranges::sort(members, std::less<>());
  for (const Member& member : members) {
    if (count == count_) return;  // rounding kept the sum below the target: nothing to cut
    weight += weight_of(member.logit);
    ++count;
    if (weight >= target) return cut(bucket, member, count, weight);
  }
}

std::vector<int32_t> RankedLogits::places() const {
  // Without branches, which a flat distribution makes unpredictable; hence one place too many.
  std::vector<int32_t> places(static_cast<size_t>(count_) + 1);
  size_t count = 0;
  for (size_t i = 0; i < bucket_of_.size(); ++i) {
    const auto place = static_cast<int32_t>(i);
    const bool in_front = bucket_of_[i] < last_bucket_;
    places[count] = place;
    count += in_front || (bucket_of_[i] == last_bucket_ && !(last_ < Member{logits_[i], place}));
  }
  LETHE_CHECK(count + 1 == places.size());
  places.pop_back();
  return places;
}

}  // namespace lethe::engine
