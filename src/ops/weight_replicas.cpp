#include "ops/weight_replicas.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace lethe::ops {

WeightReplicas::WeightReplicas(std::span<const std::byte> memory, std::span<const int> nodes,
                               std::shared_ptr<const void> owner, NodeOfThread node_of_thread)
    : first_(memory.first(memory.size() / std::max<size_t>(1, nodes.size()))),
      count_(nodes.size()),
      owner_(std::move(owner)),
      node_of_thread_(node_of_thread) {
  LETHE_CHECK(count_ > 0 && memory.size() % nodes.size() == 0);
  index_of_node_.resize(static_cast<size_t>(*std::ranges::max_element(nodes)) + 1);
  for (size_t i = 0; i < nodes.size(); ++i) index_of_node_[static_cast<size_t>(nodes[i])] = i;
}

quant::Weight WeightReplicas::here(const quant::Weight& weight) const noexcept {
  const auto node = static_cast<size_t>(node_of_thread_());
  const size_t index = node < index_of_node_.size() ? index_of_node_[node] : 0;
  if (index == 0) return weight;
  const auto shift = static_cast<std::ptrdiff_t>(index * first_.size());
  const auto moved = [&](const std::byte* at) {
    const std::less<> before;  // also of pointers into different memory
    const std::byte* const begin = first_.data();
    return before(at, begin) || !before(at, begin + first_.size()) ? at : at + shift;
  };
  quant::Weight there = weight;
  there.data = moved(weight.data);
  there.scales = moved(weight.scales);
  return there;
}

}  // namespace lethe::ops
