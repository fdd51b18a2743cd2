#pragma once

#include <string>
#include <vector>

namespace lethe::internal {

/// The files that a model path stands for: safetensors (an index, or files) with their config.json,
/// or a GGUF.
struct ModelFiles {
  std::string directory;
  std::string config;                    ///< config.json; of safetensors
  std::string index;                     ///< model.safetensors.index.json, or
  std::vector<std::string> safetensors;  ///< these files, or
  std::string gguf;                      ///< a GGUF (any part of a split one)
};

/// What `path` (a directory, .safetensors, .gguf, or the index itself) stands for. Source:
/// spec/formats.md section 1.4. Throws LoadError saying what was looked for.
ModelFiles locate_model(const std::string& path);

/// The one `mtp*.gguf` in the directory of `gguf`, other than itself; "" if there is none. Throws
/// LoadError if there are several.
std::string locate_draft(const std::string& gguf);

}  // namespace lethe::internal
