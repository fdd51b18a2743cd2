#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/machine_topology.h"
#include "quant/weight.h"

namespace lethe::ops {

/// Equal copies of the memory that weights lie in, one for each NUMA node. Weights point into the
/// first; whoever reads one asks for the same place in the copy of the node it runs on. Any thread.
class WeightReplicas {
 public:
  /// Number of the node that the calling thread runs on.
  using NodeOfThread = int (*)();

  /// `memory`: the copies one after the other, copy i for node nodes[i], all of the same size, kept
  /// alive by `owner`.
  WeightReplicas(std::span<const std::byte> memory, std::span<const int> nodes,
                 std::shared_ptr<const void> owner, NodeOfThread node_of_thread = current_node);

  size_t count() const noexcept { return count_; }
  std::span<const std::byte> replica(size_t index) const noexcept {
    return {first_.data() + index * first_.size(), first_.size()};
  }

  /// The weight in the copy of the calling thread's node; as it is if it lies elsewhere (tables,
  /// scales that were not copied), or if the node has none.
  quant::Weight here(const quant::Weight& weight) const noexcept;

 private:
  std::span<const std::byte> first_;
  size_t count_;
  std::vector<size_t> index_of_node_;
  std::shared_ptr<const void> owner_;
  NodeOfThread node_of_thread_;
};

}  // namespace lethe::ops
