#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/inventory.h"
#include "tensor/model_config.h"
#include "tensor/tensor_view.h"

namespace lethe {

namespace internal {
struct ModelFiles;
struct MatchedTensors;
}  // namespace internal

/// A weight as stored: the tensor and, for FP8/FP4 of the release, its scales.
struct StoredWeight {
  TensorView tensor;  ///< shape as [out, in] logical elements; for packed FP4 `dtype` stays I8
  std::optional<TensorView> scale;
  StorageKind kind =
      StorageKind::F32;  ///< meaning of I8 / F8 bytes; F32 for any plain or ggml type
  /// The weight is columns [col_begin, col_begin + cols) of `tensor`, whole blocks of its dtype;
  /// cols -1: all of them. Other than that only where two matrices share a tensor (the eh_proj of a
  /// GGUF draft), never together with `scale`.
  int64_t col_begin = 0;
  int64_t cols = -1;
};

/// An opened checkpoint: configuration and tensors under their official names, wherever they came
/// from (a directory of safetensors as released, one .safetensors with config.json beside it, a
/// GGUF of one or several parts, or a directory holding one GGUF). Mapped, never trusted: all
/// faults of config and tensors are collected and thrown as one LoadError that lists file, tensor,
/// found, expected. Opening allocates nothing proportional to the weights.
class Checkpoint {
 public:
  struct OpenOptions {
    bool require_all = true;  ///< false: `inspect` wants the faults, not an exception
    /// GGUF with the MTP block for a GGUF model; empty: the one sibling `mtp*.gguf`, if any.
    std::string draft_file;
  };
  static Checkpoint open(const std::string& path, const OpenOptions& options);
  static Checkpoint open(const std::string& path) { return open(path, OpenOptions{}); }

  const ModelConfig& config() const noexcept { return config_; }
  /// config() with the numbers of layers and experts that the files really hold: its tensors are
  /// those that can be listed. Differs from config() only where there are faults.
  const ModelConfig& present_config() const noexcept { return present_; }
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

  /// What is wrong, one line each: "FILE: TENSOR: expected X, found Y". Empty unless the options
  /// asked for an object in spite of faults.
  const std::vector<std::string>& faults() const noexcept { return faults_; }
  /// The same for people: like ones as one line, at most 50 lines. "" if there are none.
  const std::string& fault_summary() const noexcept { return fault_summary_; }
  /// Names, as the files have them, that neither the configuration nor a known variant demands.
  const std::vector<std::string>& unexpected_tensors() const noexcept { return unexpected_; }
  const std::vector<MappedFile>& files() const noexcept { return files_; }
  /// Raw tensors as the files name them, for `inspect`.
  const std::vector<TensorView>& raw_tensors() const noexcept { return raw_; }

  /// Bytes that were mapped, and where the same bytes lie from now on.
  struct Moved {
    std::span<const std::byte> mapped;
    const std::byte* now = nullptr;
  };
  /// From here on find() and get() hand out tensors that lie in one of `moved` (by ascending
  /// addresses, none overlaps another) where their bytes are now; `memory` owns those. Views that
  /// were handed out before stay valid.
  void move_tensors(std::span<const Moved> moved, std::shared_ptr<const void> memory);

  /// Throws IoError if any mapped file was changed since it was opened.
  void check_unchanged() const;

 private:
  struct Index;
  internal::MatchedTensors read_safetensors(const internal::ModelFiles& files);
  internal::MatchedTensors read_gguf(const internal::ModelFiles& files, const OpenOptions& options,
                                     Index& index);

  ModelConfig config_;
  ModelConfig present_;
  std::string path_;
  std::string directory_;
  bool is_gguf_ = false;
  bool has_draft_ = false;
  std::vector<std::string> faults_;
  std::string fault_summary_;
  std::vector<std::string> unexpected_;
  std::vector<MappedFile> files_;
  std::vector<TensorView> raw_;
  std::shared_ptr<const void> moved_;  // owns the tensors that are not mapped
  std::shared_ptr<const Index> index_;
};

}  // namespace lethe
