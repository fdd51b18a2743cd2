#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/huge_memory.h"

namespace lethe::model {

/// Equal pieces of one anonymous mapping, aligned to 4096 bytes: on huge pages where there are any,
/// kept from being swapped out as far as the process may lock memory, spread over NUMA nodes. A
/// piece takes memory once it is written to.
class SlotMemory {
 public:
  SlotMemory() = default;
  /// `slot_bytes` a multiple of 4096. Throws Error if the address space has no room.
  SlotMemory(int64_t num_slots, int64_t slot_bytes);

  std::span<std::byte> slot(int64_t index) const {
    return memory_.bytes().subspan(static_cast<size_t>(index * slot_bytes_),
                                   static_cast<size_t>(slot_bytes_));
  }

 private:
  HugeMemory memory_;
  int64_t slot_bytes_ = 0;
};

}  // namespace lethe::model
