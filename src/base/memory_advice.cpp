#include "base/memory_advice.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace lethe {

namespace {

void advise(std::span<const std::byte> bytes, int advice) noexcept {
  if (bytes.empty()) return;
  static const auto kPageBytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t first_page = begin / kPageBytes * kPageBytes;
  // A refusal leaves the mapping as it was: there is nothing to handle.
  static_cast<void>(
      ::madvise(reinterpret_cast<void*>(first_page), begin - first_page + bytes.size(), advice));
}

}  // namespace

void advise_random_access(std::span<const std::byte> bytes) noexcept {
  advise(bytes, MADV_RANDOM);
}

void prefetch_pages(std::span<const std::byte> bytes) noexcept {
  advise(bytes, MADV_WILLNEED);
}

void advise_huge_pages(std::span<const std::byte> bytes) noexcept {
  advise(bytes, MADV_HUGEPAGE);
}

}  // namespace lethe
