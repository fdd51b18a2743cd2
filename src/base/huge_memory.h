#pragma once

#include <cstddef>
#include <span>

namespace lethe {

/// Anonymous memory for much data that stays: it begins on a boundary of 2 MB, lies on huge pages
/// where the system has any, and is left out of core dumps. It takes memory as it is written to.
class HugeMemory {
 public:
  static constexpr size_t kPageBytes = size_t{2} << 20;

  HugeMemory() = default;
  /// Throws Error if the address space has no room.
  explicit HugeMemory(size_t bytes);
  ~HugeMemory();
  HugeMemory(HugeMemory&& other) noexcept;
  HugeMemory& operator=(HugeMemory&& other) noexcept;

  std::span<std::byte> bytes() const noexcept { return bytes_; }

  /// Has the pages that are written from here on taken from all NUMA nodes with memory in turn.
  /// False if nothing was done: there is one node, the process was given a memory policy of its own
  /// (numactl), or the system refuses.
  bool interleave() const noexcept;
  /// Has those of a part's pages that are written from here on taken from a node, as long as it has
  /// any. `begin`: a multiple of kPageBytes. False if the system refuses, and nothing was done.
  bool prefer_node(size_t begin, size_t size, int node) const noexcept;

 private:
  void* mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
  std::span<std::byte> bytes_;
};

}  // namespace lethe
