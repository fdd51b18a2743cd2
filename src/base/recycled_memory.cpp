#include "base/recycled_memory.h"

#include <algorithm>
#include <array>
#include <bit>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LETHE_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define LETHE_ADDRESS_SANITIZER 1
#endif
#if defined(LETHE_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace lethe {

namespace {

void poison([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(LETHE_ADDRESS_SANITIZER)
  __asan_poison_memory_region(memory, bytes);
#endif
}
void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#if defined(LETHE_ADDRESS_SANITIZER)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

constexpr size_t kSmallestBlock = 64;
constexpr size_t kSizes =
    std::bit_width(RecycledMemory::kLargestBlock) - std::bit_width(kSmallestBlock) + 1;

/// Number of the smallest block size that holds so many bytes; kSizes or more: of none.
size_t size_index(size_t bytes) {
  const size_t least = std::max(bytes, kSmallestBlock);
  return static_cast<size_t>(std::bit_width(least - 1) - std::bit_width(kSmallestBlock - 1));
}
constexpr size_t block_bytes(size_t index) {
  return kSmallestBlock << index;
}

/// At the beginning of a block that is kept.
struct Link {
  Link* next = nullptr;
};

/// Whether the thread's FreeBlocks are gone: what ends later with the thread gives its memory to
/// the system. Of a type without a destructor, so that it can be read until the very end.
constinit thread_local bool ended = false;

/// The blocks that a thread keeps.
class FreeBlocks {
 public:
  FreeBlocks() = default;
  ~FreeBlocks() {
    release();
    ended = true;
  }
  FreeBlocks(const FreeBlocks&) = delete;
  FreeBlocks& operator=(const FreeBlocks&) = delete;

  size_t kept_bytes() const noexcept { return kept_bytes_; }

  /// Null: there is none of this size.
  void* take(size_t index) noexcept {
    Link* const block = lists_[index];
    if (block == nullptr) return nullptr;
    unpoison(block, sizeof(Link));
    lists_[index] = block->next;
    kept_bytes_ -= block_bytes(index);
    unpoison(block, block_bytes(index));
    return block;
  }

  void keep(void* memory, size_t index) noexcept {
    unpoison(memory, block_bytes(index));
    lists_[index] = new (memory) Link{lists_[index]};
    poison(memory, block_bytes(index));
    kept_bytes_ += block_bytes(index);
    shrink(RecycledMemory::kMostKept);
  }

  void release() noexcept { shrink(0); }

 private:
  /// Gives blocks to the system until no more than `most` bytes are kept, the largest first.
  void shrink(size_t most) noexcept {
    for (size_t index = kSizes; index-- > 0 && kept_bytes_ > most;) {
      while (kept_bytes_ > most) {
        void* const block = take(index);
        if (block == nullptr) break;
        ::operator delete(block);
      }
    }
  }

  std::array<Link*, kSizes> lists_{};
  size_t kept_bytes_ = 0;
};

FreeBlocks& free_blocks() {
  thread_local FreeBlocks blocks;
  return blocks;
}

}  // namespace

void* RecycledMemory::take(size_t bytes) {
  const size_t index = size_index(bytes);
  if (index >= kSizes) return ::operator new(bytes);
  void* block = ended ? nullptr : free_blocks().take(index);
  if (block == nullptr) block = ::operator new(block_bytes(index));
  poison(block, block_bytes(index));
  unpoison(block, bytes);
  return block;
}

void RecycledMemory::give(void* memory, size_t bytes) noexcept {
  if (memory == nullptr) return;
  const size_t index = size_index(bytes);
  if (index >= kSizes) {
    ::operator delete(memory);
  } else if (ended) {
    unpoison(memory, block_bytes(index));
    ::operator delete(memory);
  } else {
    free_blocks().keep(memory, index);
  }
}

size_t RecycledMemory::kept_bytes() noexcept {
  return ended ? 0 : free_blocks().kept_bytes();
}

void RecycledMemory::release() noexcept {
  if (!ended) free_blocks().release();
}

}  // namespace lethe
