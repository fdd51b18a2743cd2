#include "tensor/safetensors.h"

#include <filesystem>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/safetensors_header.h"

namespace lethe {

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  MappedFile mapped = MappedFile::open(path);
  SafetensorsFile file = parse(mapped.bytes(), path);
  file.files_.push_back(std::move(mapped));
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const std::byte> bytes, const std::string& path) {
  internal::SafetensorsHeader header = internal::parse_safetensors_header(bytes, path);
  SafetensorsFile file;
  file.metadata_ = std::move(header.metadata);
  file.tensors_.reserve(header.entries.size());
  for (internal::SafetensorsEntry& entry : header.entries) {
    if (!entry.dtype) {
      const std::string shown = printable(entry.name);
      if (!file.unsupported_.emplace(std::move(entry.name), entry.dtype_name).second) {
        throw LoadError("{}: {}: occurs twice in the header.", path, shown);
      }
      continue;
    }
    TensorView view;
    view.name = std::move(entry.name);
    view.dtype = *entry.dtype;
    view.shape = std::move(entry.shape);
    view.offset = header.data_start + entry.begin;
    view.data = bytes.subspan(view.offset, entry.end - entry.begin);
    view.file = path;
    file.tensors_.push_back(std::move(view));
  }
  file.index_names(path);
  return file;
}

void SafetensorsFile::index_names(const std::string& path) {
  if (const TensorView* twice = by_name_.build(tensors_)) {
    throw LoadError("{}: {}: occurs twice in the header.", path, printable(twice->name));
  }
  for (const auto& [name, dtype] : unsupported_) {
    if (find(name) != nullptr) {
      throw LoadError("{}: {}: occurs twice in the header.", path, printable(name));
    }
  }
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  return by_name_.find(tensors_, name);
}

SafetensorsFile SafetensorsFile::open_sharded(const std::string& index_path) {
  const std::map<std::string, std::string> weight_map = read_safetensors_index(index_path);
  const std::filesystem::path directory = std::filesystem::path(index_path).parent_path();
  std::map<std::string, SafetensorsFile, std::less<>> shards;
  SafetensorsFile all;
  all.tensors_.reserve(weight_map.size());
  for (const auto& [name, file_name] : weight_map) {
    auto shard = shards.find(file_name);
    if (shard == shards.end()) {
      const std::string path = (directory / file_name).string();
      if (!std::filesystem::exists(path)) {
        throw LoadError(
            "{}: {}: the index says that it lies in {}, but there is no such file; the "
            "download may be incomplete.",
            index_path, printable(name), path);
      }
      shard = shards.emplace(file_name, open(path)).first;
    }
    const TensorView* view = shard->second.find(name);
    if (view != nullptr) {
      all.tensors_.push_back(*view);
      continue;
    }
    const auto unusable = shard->second.unsupported_.find(name);
    if (unusable == shard->second.unsupported_.end()) {
      throw LoadError(
          "{}: {}: the index says that it lies in {}, but that file has no such tensor.",
          index_path, printable(name), printable(file_name));
    }
    all.unsupported_.insert(*unusable);
  }
  for (auto& [file_name, shard] : shards) {
    all.files_.push_back(std::move(shard.files_.front()));
    all.metadata_.merge(shard.metadata_);
  }
  all.index_names(index_path);
  return all;
}

}  // namespace lethe
