#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace lethe {

/// Dimensions in the paper's order: [out, in] for a matrix, last axis contiguous. GGUF dims are
/// reversed on reading.
using Shape = std::vector<int64_t>;

std::string shape_string(const Shape& shape);  ///< "[1024, 4096]"
/// Product of the dimensions; 1 for a scalar. Readers guarantee that it does not overflow.
int64_t num_elements(const Shape& shape);

/// A named tensor inside a mapped file. Does not own its bytes; valid while the file object lives.
/// The data may be unaligned for its element type: read it through memcpy.
struct TensorView {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
  std::span<const std::byte> data;
  std::string file;     ///< Path of the file that holds it, for messages.
  uint64_t offset = 0;  ///< Position of data in that file, bytes.
};

/// What a writer needs to know of a tensor before its bytes exist.
struct TensorPlan {
  std::string name;
  DType dtype = DType::F32;
  Shape shape;
};

}  // namespace lethe
