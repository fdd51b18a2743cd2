#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace lethe {

/// Memory for what a step of the model needs and the next step needs again: activations, lists.
/// A block that is given back is kept by the thread that gave it, and serves that thread's next
/// request of about its size; so a step that does what the step before did takes none from the
/// system. Blocks come in sizes that are powers of two. What a thread keeps is bounded: larger
/// blocks than kLargestBlock are not kept, and where more than kMostKept would be, the largest go
/// back first. When a thread ends, so does what it keeps.
///
/// Any thread; a block may be given back by another than took it, which keeps it then. The bytes of
/// a block are unspecified. With AddressSanitizer, blocks that are kept are poisoned.
class RecycledMemory {
 public:
  static constexpr size_t kLargestBlock = size_t{8} << 20;  ///< bytes
  static constexpr size_t kMostKept = size_t{64} << 20;     ///< bytes, of one thread

  /// Aligned as operator new's. Throws std::bad_alloc.
  static void* take(size_t bytes);
  /// `bytes`: as they were asked for.
  static void give(void* memory, size_t bytes) noexcept;

  /// What the calling thread keeps.
  static size_t kept_bytes() noexcept;
  /// Gives that back to the system.
  static void release() noexcept;
};

/// RecycledMemory for containers.
template <typename T>
class RecyclingAllocator {
 public:
  using value_type = T;
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  RecyclingAllocator() = default;
  template <typename Other>
  RecyclingAllocator(const RecyclingAllocator<Other>&) noexcept {}  // NOLINT: a conversion

  T* allocate(size_t count) {
    if (count > std::numeric_limits<size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(RecycledMemory::take(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t count) noexcept {
    RecycledMemory::give(memory, count * sizeof(T));
  }
  bool operator==(const RecyclingAllocator&) const noexcept { return true; }
};

/// A vector that lives for a step or less. For lists: it fills and copies value by value.
template <typename T>
using RecycledVector = std::vector<T, RecyclingAllocator<T>>;

/// Says that a RecycledArray's first values do not matter.
struct Unset {};

/// A fixed number of plain values that live for a step or less; zeros at first, or unspecified.
template <typename T>
class RecycledArray {
  static_assert(std::is_trivial_v<T>);

 public:
  RecycledArray() = default;
  explicit RecycledArray(size_t count) : RecycledArray(count, Unset()) {
    std::memset(data_, 0, count * sizeof(T));
  }
  RecycledArray(size_t count, Unset /*values*/)
      : data_(RecyclingAllocator<T>().allocate(count)), size_(count) {}
  RecycledArray(const RecycledArray& other)
      : data_(RecyclingAllocator<T>().allocate(other.size_)), size_(other.size_) {
    if (size_ > 0) std::memcpy(data_, other.data_, size_ * sizeof(T));
  }
  RecycledArray(RecycledArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  RecycledArray& operator=(RecycledArray other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~RecycledArray() { RecyclingAllocator<T>().deallocate(data_, size_); }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  T& operator[](size_t index) noexcept { return data_[index]; }
  const T& operator[](size_t index) const noexcept { return data_[index]; }
  T* begin() noexcept { return data_; }
  const T* begin() const noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* end() const noexcept { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace lethe
