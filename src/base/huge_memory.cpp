#include "base/huge_memory.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/machine_topology.h"

namespace lethe {

namespace {

/// Whether the process decides nothing about where its memory comes from. A policy that it was
/// started with (numactl) is the user's word.
bool has_default_policy() noexcept {
  int mode = -1;
  return ::syscall(SYS_get_mempolicy, &mode, nullptr, 0UL, nullptr, 0UL) == 0 &&
         mode == MPOL_DEFAULT;
}

/// nodes: ascending, at least one.
bool set_policy(std::span<std::byte> bytes, int mode, std::span<const int> nodes) {
  constexpr size_t kBits = 8 * sizeof(unsigned long);
  std::vector<unsigned long> mask(static_cast<size_t>(nodes.back()) / kBits + 1);
  for (const int node : nodes) {
    mask[static_cast<size_t>(node) / kBits] |= 1UL << (static_cast<size_t>(node) % kBits);
  }
  // The kernel looks at one bit less than it is told.
  return ::syscall(SYS_mbind, bytes.data(), bytes.size(), mode, mask.data(),
                   mask.size() * kBits + 1, 0U) == 0;
}

}  // namespace

HugeMemory::HugeMemory(size_t bytes) {
  mapped_bytes_ = bytes + kPageBytes;  // room to begin on a huge page
  void* address = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    throw Error("{} bytes of memory cannot be had: {}.", bytes, std::strerror(errno));
  }
  mapping_ = address;
  const auto begin = reinterpret_cast<uintptr_t>(address);
  bytes_ = {static_cast<std::byte*>(address) + (kPageBytes - begin % kPageBytes) % kPageBytes,
            bytes};
  // Wishes: a refusal changes nothing but speed.
  static_cast<void>(::madvise(bytes_.data(), bytes, MADV_HUGEPAGE));
  static_cast<void>(::madvise(bytes_.data(), bytes, MADV_DONTDUMP));
}

HugeMemory::~HugeMemory() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapped_bytes_);
}

HugeMemory::HugeMemory(HugeMemory&& other) noexcept {
  *this = std::move(other);
}

HugeMemory& HugeMemory::operator=(HugeMemory&& other) noexcept {
  std::swap(mapping_, other.mapping_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

bool HugeMemory::interleave() const noexcept {
  if (bytes_.empty() || !has_default_policy()) return false;
  const std::vector<int> nodes = memory_nodes();
  return nodes.size() >= 2 && set_policy(bytes_, MPOL_INTERLEAVE, nodes);
}

bool HugeMemory::prefer_node(size_t begin, size_t size, int node) const noexcept {
  return set_policy(bytes_.subspan(begin, size), MPOL_PREFERRED, {&node, 1});
}

}  // namespace lethe
