#include "ops/top_k.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"

namespace lethe::ops {

namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr size_t kLeastLimit = 256;
constexpr size_t kStride = 16;  // scores looked at together

/// Ascending as the score descends.
uint32_t descending_bits(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes 0
  return (bits & 0x80000000u) != 0 ? bits : ~bits & 0x7fffffffu;
}
float score_of(uint32_t descending) {
  return std::bit_cast<float>((descending & 0x80000000u) != 0 ? descending
                                                              : ~descending & 0x7fffffffu);
}

uint64_t make_item(float score, int64_t number) {
  return uint64_t{descending_bits(score)} << 32 | static_cast<uint64_t>(number);
}
int32_t number_of(uint64_t item) {
  return static_cast<int32_t>(item & 0xffffffffu);
}

bool any_above(const float* scores, float threshold) {
  int above = 0;
  for (size_t i = 0; i < kStride; ++i) above |= scores[i] > threshold ? 1 : 0;
  return above != 0;
}

}  // namespace

void TopK::reset(int64_t k) {
  LETHE_CHECK(k >= 0);
  k_ = static_cast<size_t>(k);
  limit_ = std::max(4 * k_, kLeastLimit);
  items_.clear();
  items_.reserve(limit_);
  threshold_ = kLowest;
  threshold_item_ = std::numeric_limits<int64_t>::max();
}

void TopK::compact() {
  if (items_.size() <= k_) return;
  const auto last = items_.begin() + static_cast<std::ptrdiff_t>(k_) - 1;
  std::nth_element(items_.begin(), last, items_.end());
  threshold_ = score_of(static_cast<uint32_t>(*last >> 32));
  threshold_item_ = number_of(*last);
  items_.resize(k_);
}

void TopK::offer(std::span<const float> scores, int64_t first) {
  if (k_ == 0) return;
  const auto add = [&](size_t i) {
    const int64_t number = first + static_cast<int64_t>(i);
    const bool better = scores[i] > threshold_ || (scores[i] == threshold_ &&
                                                   number < threshold_item_ && scores[i] > kLowest);
    if (!better) return;
    if (items_.size() == limit_) compact();
    items_.push_back(make_item(scores[i], number));
  };
  size_t i = 0;
  for (; i + kStride <= scores.size(); i += kStride) {
    // An equal score matters only in an item before the k-th best one: rare, as numbers ascend.
    const bool ties_matter = first + static_cast<int64_t>(i) < threshold_item_;
    if (!ties_matter && !any_above(scores.data() + i, threshold_)) continue;
    for (size_t s = 0; s < kStride; ++s) add(i + s);
  }
  for (; i < scores.size(); ++i) add(i);
}

void TopK::offer(const TopK& other) {
  for (const uint64_t item : other.items_) {
    if (items_.size() == limit_) compact();
    items_.push_back(item);
  }
}

void TopK::choose() {
  if (k_ == 0) items_.clear();
  if (k_ > 0) compact();
}

int64_t TopK::size() {
  choose();
  return static_cast<int64_t>(items_.size());
}

int64_t TopK::best(std::span<int32_t> out) {
  choose();
  std::sort(items_.begin(), items_.end());
  LETHE_CHECK(out.size() >= items_.size());
  std::transform(items_.begin(), items_.end(), out.begin(), number_of);
  return static_cast<int64_t>(items_.size());
}

int64_t TopK::ascending(std::span<int32_t> out) {
  choose();
  LETHE_CHECK(out.size() >= items_.size());
  std::transform(items_.begin(), items_.end(), out.begin(), number_of);
  std::sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(items_.size()));
  return static_cast<int64_t>(items_.size());
}

int64_t top_k(std::span<const float> scores, int64_t k, std::span<int32_t> out) {
  thread_local TopK top;
  top.reset(std::clamp<int64_t>(k, 0, static_cast<int64_t>(scores.size())));
  top.offer(scores, 0);
  return top.best(out);
}

std::vector<int32_t> top_k(std::span<const float> scores, int64_t k) {
  const int64_t most = std::clamp<int64_t>(k, 0, static_cast<int64_t>(scores.size()));
  std::vector<int32_t> out(static_cast<size_t>(most));
  out.resize(static_cast<size_t>(top_k(scores, most, out)));
  return out;
}

}  // namespace lethe::ops
