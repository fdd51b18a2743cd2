#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/tensor_view.h"

namespace lethe::internal {

/// One tensor of a safetensors header, checked by itself: its byte count matches dtype and shape
/// and its range lies inside the data section.
struct SafetensorsEntry {
  std::string name;
  std::optional<DType> dtype;  ///< nothing: a dtype of the format that this program cannot use
  std::string dtype_name;
  Shape shape;
  uint64_t begin = 0;  ///< from the start of the data section
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  ///< in header order
  std::map<std::string, std::string> metadata;
  uint64_t data_start = 0;  ///< offset of the data section in the file
};

/// Parses and checks the header of a whole file's `bytes` by rules 1-5 of spec/formats.md 1.5,
/// except that names are not compared with each other. Throws LoadError beginning with `path`.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> bytes,
                                           const std::string& path);

}  // namespace lethe::internal
