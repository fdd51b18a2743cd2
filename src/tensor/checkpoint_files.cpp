#include "tensor/checkpoint_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.h"

namespace lethe::internal {

namespace {

namespace fs = std::filesystem;

constexpr const char* kIndexName = "model.safetensors.index.json";

/// Files of `directory` with an extension, sorted by name.
std::vector<fs::path> files_with(const fs::path& directory, std::string_view extension) {
  std::vector<fs::path> files;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, failure)) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  if (failure) {
    throw LoadError("{}: the directory cannot be read: {}.", directory.string(), failure.message());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_draft_name(const fs::path& path) {
  return path.filename().string().starts_with("mtp");
}

/// "PREFIX-00002-of-00004.gguf" -> "PREFIX-of-00004.gguf": the same for all parts of a model.
std::string set_name(const fs::path& path) {
  constexpr size_t kTail = std::string_view("-00001-of-00004.gguf").size();
  std::string name = path.filename().string();
  if (name.size() <= kTail) return name;
  const std::string_view tail = std::string_view(name).substr(name.size() - kTail);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-") return name;
  return name.erase(name.size() - kTail, 6);
}

std::string single_gguf(const fs::path& directory, const std::vector<fs::path>& files) {
  std::set<std::string> sets;
  const fs::path* first = nullptr;
  for (const fs::path& file : files) {
    if (is_draft_name(file)) continue;
    if (sets.insert(set_name(file)).second && first == nullptr) first = &file;
  }
  if (sets.size() == 1) return first->string();
  if (sets.empty()) return files.front().string();
  throw LoadError("{}: holds {} GGUF models ({}); name the file that you mean.", directory.string(),
                  sets.size(), fmt::join(sets, ", "));
}

std::string config_beside(const fs::path& directory) {
  const fs::path config = directory / "config.json";
  if (fs::exists(config)) return config.string();
  throw LoadError(
      "{}: is missing. A model in safetensors needs the config.json that was published with it.",
      config.string());
}

ModelFiles locate_in_directory(const fs::path& directory) {
  ModelFiles found;
  found.directory = directory.string();
  if (fs::exists(directory / kIndexName)) {
    found.index = (directory / kIndexName).string();
  } else if (fs::exists(directory / "model.safetensors")) {
    found.safetensors = {(directory / "model.safetensors").string()};
  } else if (const auto ggufs = files_with(directory, ".gguf"); !ggufs.empty()) {
    found.gguf = single_gguf(directory, ggufs);
    return found;
  } else {
    for (const fs::path& file : files_with(directory, ".safetensors")) {
      found.safetensors.push_back(file.string());
    }
    if (found.safetensors.empty()) {
      throw LoadError(
          "{}: holds no model. Looked for {}, model.safetensors, *.gguf and *.safetensors.",
          directory.string(), kIndexName);
    }
  }
  found.config = config_beside(directory);
  return found;
}

}  // namespace

ModelFiles locate_model(const std::string& path) {
  const fs::path file(path);
  std::error_code failure;
  const fs::file_status status = fs::status(file, failure);
  if (!fs::exists(status)) {
    throw LoadError("{}: there is no such file or directory.", path);
  }
  if (fs::is_directory(status)) return locate_in_directory(file);
  ModelFiles found;
  const fs::path directory = file.has_parent_path() ? file.parent_path() : fs::path(".");
  found.directory = directory.string();
  if (file.extension() == ".gguf") {
    found.gguf = path;
  } else if (file.filename() == kIndexName) {
    found.index = path;
    found.config = config_beside(directory);
  } else if (file.extension() == ".safetensors") {
    found.safetensors = {path};
    found.config = config_beside(directory);
  } else {
    throw LoadError(
        "{}: is no model. Lethe opens a directory with the published files, a .safetensors with "
        "its config.json beside it, or a .gguf.",
        path);
  }
  return found;
}

std::string locate_draft(const std::string& gguf) {
  const fs::path model(gguf);
  if (is_draft_name(model)) return "";
  const fs::path directory = model.has_parent_path() ? model.parent_path() : fs::path(".");
  std::vector<fs::path> drafts;
  for (const fs::path& file : files_with(directory, ".gguf")) {
    if (is_draft_name(file)) drafts.push_back(file);
  }
  if (drafts.empty()) return "";
  if (drafts.size() > 1) {
    throw LoadError("{}: holds {} draft files ({}, {}, ...); leave one beside the model.",
                    directory.string(), drafts.size(), drafts[0].filename().string(),
                    drafts[1].filename().string());
  }
  return drafts.front().string();
}

}  // namespace lethe::internal
