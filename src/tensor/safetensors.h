#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_writer.h"
#include "base/mapped_file.h"
#include "tensor/name_index.h"
#include "tensor/tensor_view.h"

namespace lethe {

/// One mapped .safetensors file. Nothing proportional to the file is allocated beyond its header.
/// Source: spec/formats.md section 1. Every rule of section 1.5 is checked before a byte is used.
class SafetensorsFile {
 public:
  /// Throws LoadError naming file, tensor, what was found and what was expected.
  static SafetensorsFile open(const std::string& path);
  /// All tensors that the `weight_map` of an index file names, each from the shard it is mapped to
  /// (shards lie beside the index; what a shard holds besides is left out). Throws LoadError: a
  /// shard is missing or bad, or lacks a tensor that is mapped to it.
  static SafetensorsFile open_sharded(const std::string& index_path);
  /// The same checks on bytes in memory (fuzzing); `path` is only for messages. The bytes must
  /// outlive the result.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& path);

  /// In header order.
  const std::vector<TensorView>& tensors() const noexcept { return tensors_; }
  const TensorView* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const noexcept { return metadata_; }
  /// Tensors left out of tensors() because their dtype (F4, F6_*, C64) is known to the format but
  /// to nothing here: name -> dtype. Whoever needs one of them reports it by this dtype.
  const std::map<std::string, std::string, std::less<>>& unsupported() const noexcept {
    return unsupported_;
  }
  const std::vector<MappedFile>& files() const noexcept { return files_; }

 private:
  void index_names(const std::string& path);

  std::vector<MappedFile> files_;
  std::vector<TensorView> tensors_;
  NameIndex by_name_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::string, std::less<>> unsupported_;
};

/// `weight_map` of model.safetensors.index.json: tensor name -> plain file name (checked: no path
/// components). Other keys of the file are ignored. Throws LoadError.
std::map<std::string, std::string> read_safetensors_index(const std::string& path);
/// The same checks on text in memory (fuzzing); `path` is only for messages.
std::map<std::string, std::string> parse_safetensors_index(std::string_view text,
                                                           const std::string& path);

/// Streams a .safetensors file: the header is fixed at construction, then the tensors' bytes are
/// appended in order. The data section starts on a multiple of 8 and tensors follow each other
/// without holes, as the format demands: every tensor starts on a multiple of its element size if
/// the plan is ordered by falling element size. One thread.
class SafetensorsWriter {
 public:
  /// Throws IoError. Names must be unique and valid UTF-8, dtypes such as safetensors knows.
  SafetensorsWriter(const std::string& path, std::vector<TensorPlan> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  /// Appends bytes of the current tensor; several calls may make up one tensor.
  void append(std::span<const std::byte> bytes);
  /// Checks that every tensor is complete and commits the file. Throws IoError.
  void finish();

 private:
  FileWriter writer_;
  std::string path_;
  uint64_t data_bytes_ = 0;  ///< Expected in all.
  uint64_t written_ = 0;
};

}  // namespace lethe
