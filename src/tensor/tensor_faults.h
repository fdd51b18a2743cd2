#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace lethe::internal {

/// One thing wrong with a tensor.
struct TensorFault {
  std::string file;
  std::string tensor;
  std::string expected;
  std::string found;

  std::string line() const;  ///< "FILE: TENSOR: expected X, found Y"
};

/// All faults, as few lines as say them: faults that differ only in the numbers of their tensors'
/// names become one line with a count. At most `max_lines`, then "and N more".
std::string fault_summary(const std::vector<TensorFault>& faults, size_t max_lines = 50);

}  // namespace lethe::internal
