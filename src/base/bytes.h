#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

namespace lethe {

/// Appends the `size` bytes at `data`.
inline void append_bytes(std::vector<std::byte>& out, const void* data, size_t size) {
  if (size == 0) return;
  const size_t at = out.size();
  out.resize(at + size);
  std::memcpy(out.data() + at, data, size);
}

/// Appends the object representation of a trivially copyable value.
template <typename T>
void append_value(std::vector<std::byte>& out, const T& value) {
  append_bytes(out, &value, sizeof(value));
}

}  // namespace lethe
