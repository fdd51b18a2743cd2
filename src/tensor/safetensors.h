#pragma once

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "tensor/tensor_view.h"

#include <map>
#include <string>
#include <vector>

namespace lethe {

/// One mapped .safetensors file. Nothing proportional to the file is allocated beyond its header.
/// Source: spec/formats.md section 1. Every rule of section 1.5 is checked before a byte is used.
class SafetensorsFile {
 public:
  /// Throws LoadError naming file, tensor, what was found and what was expected.
  static SafetensorsFile open(const std::string& path);
  /// The same checks on bytes in memory (fuzzing); `path` is only for messages.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& path);

  /// In header order.
  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }
  const TensorView* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  const std::vector<MappedFile>& files() const noexcept { return files_; }

 private:
  std::vector<MappedFile> files_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<std::string, std::string> metadata_;
};

/// `weight_map` of model.safetensors.index.json: tensor name -> plain file name (checked: no path
/// components). Throws LoadError.
std::map<std::string, std::string> read_safetensors_index(const std::string& path);

/// Streams a .safetensors file: the header is fixed at construction, then the tensors' bytes are
/// appended in order. Offsets are padded so that every tensor starts on its element size when the
/// tensors are ordered by falling alignment (no holes, as the format demands).
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, std::vector<TensorPlan> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  /// Appends bytes of the current tensor; several calls may make up one tensor.
  void append(std::span<const std::byte> bytes);
  /// Checks that every tensor is complete and commits the file. Throws IoError.
  void finish();

 private:
  FileWriter writer_;
  uint64_t data_bytes_ = 0;  ///< Expected in all.
  uint64_t written_ = 0;
};

}  // namespace lethe
