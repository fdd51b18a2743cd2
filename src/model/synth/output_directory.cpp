#include "model/synth/output_directory.h"

#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace fs = std::filesystem;

namespace lethe::synth {

namespace {

/// Files that would be read as part of a checkpoint.
bool is_checkpoint_file(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  const std::string extension = entry.path().extension().string();
  return entry.is_regular_file() &&
         (extension == ".safetensors" || extension == ".gguf" || name == "config.json" ||
          name == "tokenizer.json" || name == "tokenizer_config.json" ||
          name == "model.safetensors.index.json");
}

}  // namespace

OutputDirectory::OutputDirectory(std::string directory, bool force)
    : directory_(std::move(directory)) {
  std::error_code error;
  if (fs::exists(directory_, error)) {
    if (!fs::is_directory(directory_, error)) {
      throw UsageError("--out {}: is not a directory.", directory_);
    }
    if (fs::is_empty(directory_, error)) return;
    if (!force) {
      throw UsageError(
          "--out {}: the directory is not empty. Name another, or use --force to replace the "
          "checkpoint in it.",
          directory_);
    }
    for (const fs::directory_entry& entry : fs::directory_iterator(directory_, error)) {
      if (is_checkpoint_file(entry)) fs::remove(entry.path(), error);
    }
  } else {
    created_ = fs::create_directories(directory_, error);
  }
  if (error) throw IoError("{}: {}.", directory_, error.message());
}

OutputDirectory::~OutputDirectory() {
  if (kept_) return;
  std::error_code ignored;
  for (const std::string& file : written_) fs::remove(file, ignored);
  if (created_) fs::remove(directory_, ignored);
}

void OutputDirectory::require_space(uint64_t bytes) const {
  constexpr uint64_t kMargin = uint64_t{64} << 20;
  const uint64_t available = fs::space(directory_).available;
  if (available < kMargin || bytes > available - kMargin) {
    throw IoError(
        "{}: {:.2f} GB are to be written and {:.2f} GB are free. Free space, or ask for fewer "
        "--layers, --experts or --engram-rows.",
        directory_, static_cast<double>(bytes) * 1e-9, static_cast<double>(available) * 1e-9);
  }
}

std::string OutputDirectory::path(std::string_view file_name) {
  written_.push_back((fs::path(directory_) / file_name).string());
  return written_.back();
}

}  // namespace lethe::synth
