#include "ops/top_k.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace lethe::ops {

std::vector<int32_t> top_k(std::span<const float> scores, int64_t k) {
  std::vector<int32_t> order;
  order.reserve(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > -std::numeric_limits<float>::infinity()) {
      order.push_back(static_cast<int32_t>(i));
    }
  }
  const auto better = [&](int32_t a, int32_t b) {
    const float sa = scores[static_cast<size_t>(a)];
    const float sb = scores[static_cast<size_t>(b)];
    return sa != sb ? sa > sb : a < b;
  };
  const size_t count = std::min(order.size(), static_cast<size_t>(std::max<int64_t>(k, 0)));
  const auto cut = order.begin() + static_cast<std::ptrdiff_t>(count);
  if (count < order.size()) std::nth_element(order.begin(), cut, order.end(), better);
  std::sort(order.begin(), cut, better);
  order.resize(count);
  return order;
}

}  // namespace lethe::ops
