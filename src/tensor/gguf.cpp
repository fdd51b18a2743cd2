#include "tensor/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/gguf_parser.h"

namespace lethe {

namespace {

/// A file name PREFIX-00002-of-00004.gguf taken apart.
struct PartName {
  std::string prefix;
  uint64_t number = 0;  ///< from 1
  uint64_t count = 0;
};

std::optional<uint64_t> five_digits(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

std::optional<PartName> parse_part_name(std::string_view path) {
  constexpr std::string_view kSample = "-00001-of-00001.gguf";
  if (path.size() <= kSample.size()) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kSample.size());
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") {
    return std::nullopt;
  }
  const std::optional<uint64_t> number = five_digits(tail.substr(1, 5));
  const std::optional<uint64_t> count = five_digits(tail.substr(10, 5));
  if (!number || !count) return std::nullopt;
  return PartName{std::string(path.substr(0, path.size() - kSample.size())), *number, *count};
}

std::string part_path(const PartName& name, uint64_t number) {
  return fmt::format("{}-{:05d}-of-{:05d}.gguf", name.prefix, number, name.count);
}

/// The split.* keys of one part; count 1 if it is no part of a split file.
struct SplitKeys {
  uint64_t number = 0;  ///< from 0
  uint64_t count = 1;
  std::optional<uint64_t> tensors;  ///< in all parts
};

std::optional<uint64_t> split_key(const GgufFile& part, std::string_view key,
                                  const std::string& path) {
  const GgufValue* value = part.value(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<uint64_t> number = value->is_array() ? std::nullopt : value->as_uint();
  if (!number) throw LoadError("{}: the metadata key '{}' is no whole number >= 0.", path, key);
  return number;
}

SplitKeys split_keys(const GgufFile& part, const std::string& path) {
  SplitKeys keys;
  keys.count = split_key(part, "split.count", path).value_or(1);
  keys.number = split_key(part, "split.no", path).value_or(0);
  keys.tensors = split_key(part, "split.tensors.count", path);
  if (keys.count <= 1) return {};  // llama.cpp writes 0 or 1 for a whole model
  if (keys.number >= keys.count) {
    throw LoadError("{}: says that it is part {} of {} (split.no counts from 0).", path,
                    keys.number, keys.count);
  }
  return keys;
}

/// Where the siblings of a part lie; its own name must say what its metadata say.
PartName sibling_names(const std::string& path, const SplitKeys& keys) {
  const std::optional<PartName> name = parse_part_name(path);
  if (!name) {
    throw LoadError(
        "{}: is part {} of a model in {} files, but its name does not end with -{:05d}-of-{:05d}"
        ".gguf, so the others cannot be found; give the files their original names.",
        path, keys.number + 1, keys.count, keys.number + 1, keys.count);
  }
  if (name->number != keys.number + 1 || name->count != keys.count) {
    throw LoadError(
        "{}: its name says part {} of {}, its metadata say part {} of {}; the file was renamed or "
        "damaged.",
        path, name->number, name->count, keys.number + 1, keys.count);
  }
  return *name;
}

}  // namespace

GgufFile GgufFile::open(const std::string& path) {
  MappedFile mapped = MappedFile::open(path);
  GgufFile first = parse(mapped.bytes(), path);
  const SplitKeys keys = split_keys(first, path);
  if (keys.count == 1) {
    first.files_.push_back(std::move(mapped));
    return first;
  }
  const PartName name = sibling_names(path, keys);
  for (uint64_t i = 1; i <= keys.count; ++i) {
    if (!std::filesystem::exists(part_path(name, i))) {
      throw LoadError("{}: is missing; {} is one of {} parts, and all must lie in one directory.",
                      part_path(name, i), path, keys.count);
    }
  }
  GgufFile all;
  for (uint64_t i = 1; i <= keys.count; ++i) {
    all.append_part(i == keys.number + 1 ? mapped : MappedFile::open(part_path(name, i)));
  }
  if (keys.tensors && *keys.tensors != all.tensors_.size()) {
    throw LoadError("{}: split.tensors.count is {}, but the {} parts hold {} tensors.", path,
                    *keys.tensors, keys.count, all.tensors_.size());
  }
  all.index_names(path);
  return all;
}

void GgufFile::append_part(MappedFile part) {
  GgufFile parsed = parse(part.bytes(), part.path());
  const SplitKeys keys = split_keys(parsed, part.path());
  if (keys.count == 1) {
    throw LoadError("{}: has no split.count, though its siblings are parts of one model.",
                    part.path());
  }
  sibling_names(part.path(), keys);
  if (files_.empty()) values_ = std::move(parsed.values_);
  std::move(parsed.tensors_.begin(), parsed.tensors_.end(), std::back_inserter(tensors_));
  files_.push_back(std::move(part));
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, const std::string& path) {
  internal::GgufParser parser(bytes, path);
  parser.parse();
  GgufFile file;
  file.values_ = std::move(parser.values);
  file.tensors_ = std::move(parser.tensors);
  file.index_names(path);
  return file;
}

void GgufFile::index_names(const std::string& path) {
  if (const TensorView* twice = by_name_.build(tensors_)) {
    throw LoadError("{}: {}: occurs twice.", path, printable(twice->name));
  }
}

const TensorView* GgufFile::find(std::string_view name) const {
  return by_name_.find(tensors_, name);
}

const GgufValue* GgufFile::value(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second;
}

}  // namespace lethe
