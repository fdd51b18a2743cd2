#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "tensor/tensor_view.h"

namespace lethe::fuzz {

/// What must hold of a tensor that a reader accepted, wherever its bytes came from.
inline void check_view(const TensorView& view, std::span<const std::byte> file) {
  const DTypeInfo& info = dtype_info(view.dtype);
  const auto elements = static_cast<uint64_t>(num_elements(view.shape));
  LETHE_CHECK(elements % info.block_elements == 0);
  LETHE_CHECK(view.data.size() == elements / info.block_elements * info.block_bytes);
  LETHE_CHECK(view.offset <= file.size() && view.data.size() <= file.size() - view.offset);
  LETHE_CHECK(view.data.data() == file.data() + view.offset);
}

}  // namespace lethe::fuzz
