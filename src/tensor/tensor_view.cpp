#include "tensor/tensor_view.h"

#include <fmt/format.h>

#include "base/check.h"

namespace lethe {

std::string shape_string(const Shape& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

int64_t num_elements(const Shape& shape) {
  int64_t product = 1;
  for (const int64_t dim : shape) {
    const bool overflow = __builtin_mul_overflow(product, dim, &product);
    LETHE_CHECK(dim >= 0 && !overflow, "shape {}", shape_string(shape));
  }
  return product;
}

}  // namespace lethe
