#pragma once

#include "base/mapped_file.h"
#include "tensor/inventory.h"
#include "tensor/model_config.h"
#include "tensor/tensor_view.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lethe {

/// A weight as stored: the tensor and, for FP8/FP4 of the release, its scales.
struct StoredWeight {
  TensorView tensor;  ///< shape as [out, in] logical elements; for packed FP4 `dtype` stays I8
  std::optional<TensorView> scale;
  StorageKind kind = StorageKind::F32;  ///< meaning of I8 / F8 bytes; F32 for any plain or ggml type
};

/// An opened checkpoint: configuration and tensors under their official names, wherever they came
/// from (a directory of safetensors as released, one .safetensors with config.json beside it, a
/// GGUF of one or several parts, or a directory holding one GGUF). Mapped, never trusted: all
/// faults of config and tensors are collected and thrown as one LoadError that lists file, tensor,
/// found, expected. Opening allocates nothing proportional to the weights.
class Checkpoint {
 public:
  struct OpenOptions {
    bool require_all = true;       ///< false: `inspect` wants the faults, not an exception
    std::string draft_file;        ///< GGUF with the MTP block; empty: a sibling `mtp*.gguf` if any
  };
  static Checkpoint open(const std::string& path, const OpenOptions& options);
  static Checkpoint open(const std::string& path) { return open(path, OpenOptions{}); }

  const ModelConfig& config() const noexcept { return config_; }
  const std::string& path() const noexcept { return path_; }
  bool is_gguf() const noexcept { return is_gguf_; }
  /// Directory that holds config.json / tokenizer.json (or the GGUF).
  const std::string& directory() const noexcept { return directory_; }

  /// Every expected tensor found. Experts of a GGUF are slices of their stacked tensor.
  std::optional<StoredWeight> find(std::string_view official_name) const;
  /// Throws LoadError("... is missing") if absent.
  StoredWeight get(std::string_view official_name) const;

  bool has_draft() const noexcept { return has_draft_; }  ///< all tensors of every draft block

  /// GGUF metadata, for the tokenizer and Engram constants; null for safetensors.
  const class GgufFile* gguf() const noexcept;

  const std::vector<std::string>& faults() const noexcept { return faults_; }
  const std::vector<std::string>& unexpected_tensors() const noexcept { return unexpected_; }
  const std::vector<MappedFile>& files() const noexcept { return files_; }
  /// Raw tensors as the files name them, for `inspect`.
  const std::vector<TensorView>& raw_tensors() const noexcept { return raw_; }

  /// Throws IoError if any mapped file was changed since it was opened.
  void check_unchanged() const;

 private:
  struct Index;
  ModelConfig config_;
  std::string path_;
  std::string directory_;
  bool is_gguf_ = false;
  bool has_draft_ = false;
  std::vector<std::string> faults_;
  std::vector<std::string> unexpected_;
  std::vector<MappedFile> files_;
  std::vector<TensorView> raw_;
  std::shared_ptr<const Index> index_;
};

}  // namespace lethe
