#include "model/slot_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace lethe::model {

SlotMemory::SlotMemory(int64_t num_slots, int64_t slot_bytes) : slot_bytes_(slot_bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const auto wanted = static_cast<size_t>(num_slots * slot_bytes);
  mapped_bytes_ = wanted + kHugePage;  // room to begin on a huge page
  void* address = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw Error("The expert cache of {} bytes cannot be had: {}. Give a smaller --expert-cache.",
                wanted, std::strerror(errno));
  }
  mapping_ = address;
  const auto begin = reinterpret_cast<uintptr_t>(address);
  first_ = static_cast<std::byte*>(address) + (kHugePage - begin % kHugePage) % kHugePage;
  // All of these are wishes: a refusal changes nothing but speed.
  static_cast<void>(::madvise(first_, wanted, MADV_HUGEPAGE));
  static_cast<void>(::madvise(first_, wanted, MADV_DONTDUMP));
  static_cast<void>(::mlock2(first_, wanted, MLOCK_ONFAULT));
}

SlotMemory::~SlotMemory() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_bytes_);
}

SlotMemory::SlotMemory(SlotMemory&& other) noexcept {
  *this = std::move(other);
}

SlotMemory& SlotMemory::operator=(SlotMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(first_, other.first_);
  std::swap(slot_bytes_, other.slot_bytes_);
  return *this;
}

}  // namespace lethe::model
