#include <simdjson.h>

#include <algorithm>

#include "base/error.h"
#include "base/printable.h"
#include "tensor/safetensors.h"

namespace lethe {

namespace {

constexpr size_t kMaxIndexBytes = 100'000'000;
constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxKeyBytes = 512;

/// A name in the index's own directory: it must not lead anywhere else (nor control a terminal
/// when it is shown).
bool is_plain_file_name(std::string_view name) {
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return !name.empty() && name != "." && name.size() <= 255 &&
         name.find("..") == std::string_view::npos &&
         name.find_first_of("/\\") == std::string_view::npos &&
         std::none_of(name.begin(), name.end(), is_control);
}

simdjson::dom::object find_weight_map(const simdjson::dom::element& root, const std::string& path) {
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) throw LoadError("{}: is no JSON object.", path);
  simdjson::dom::object weight_map;
  bool found = false;
  for (const auto field : object) {
    if (field.key != "weight_map") continue;
    if (found) throw LoadError("{}: \"weight_map\" occurs twice.", path);
    found = true;
    if (field.value.get(weight_map) != simdjson::SUCCESS) {
      throw LoadError("{}: \"weight_map\" is no object.", path);
    }
  }
  if (!found) throw LoadError("{}: has no \"weight_map\"; this is no safetensors index.", path);
  return weight_map;
}

}  // namespace

std::map<std::string, std::string> parse_safetensors_index(std::string_view text,
                                                           const std::string& path) {
  if (text.size() > kMaxIndexBytes) {
    throw LoadError("{}: has {} bytes; an index of more than {} is not accepted.", path,
                    text.size(), kMaxIndexBytes);
  }
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  // An empty text would allocate nothing; simdjson wants room for at least one token.
  simdjson::error_code error = parser.allocate(std::max<size_t>(text.size(), 64), kMaxDepth);
  if (error == simdjson::SUCCESS) error = parser.parse(simdjson::padded_string(text)).get(root);
  if (error != simdjson::SUCCESS) {
    throw LoadError("{}: is no valid JSON: {}", path, simdjson::error_message(error));
  }
  std::map<std::string, std::string> files;
  for (const auto field : find_weight_map(root, path)) {
    const std::string shown = printable(field.key);
    if (field.key.size() > kMaxKeyBytes || !simdjson::validate_utf8(field.key)) {
      throw LoadError("{}: '{}' is no tensor name (UTF-8 of at most {} bytes).", path, shown,
                      kMaxKeyBytes);
    }
    std::string_view file;
    if (field.value.get(file) != simdjson::SUCCESS) {
      throw LoadError("{}: {}: the weight_map must give a file name.", path, shown);
    }
    if (!is_plain_file_name(file)) {
      throw LoadError("{}: {}: '{}' is no plain file name; shards must lie beside the index.", path,
                      shown, printable(file));
    }
    const size_t before = files.size();
    files.emplace_hint(files.end(), field.key, file);
    if (files.size() == before) throw LoadError("{}: {}: occurs twice.", path, shown);
  }
  return files;
}

std::map<std::string, std::string> read_safetensors_index(const std::string& path) {
  const MappedFile file = MappedFile::open(path);
  const std::span<const std::byte> bytes = file.bytes();
  return parse_safetensors_index({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

}  // namespace lethe
