#include "mini/engram_eraser.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/json_py.h"

namespace lethe::mini {

namespace {

namespace fs = std::filesystem;

/// A range of a file.
struct Range {
  uint64_t begin;
  uint64_t end;
};

/// Where the Engram tables lie in a .safetensors file.
std::vector<Range> tables_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::array<char, 8> prefix{};
  in.read(prefix.data(), prefix.size());
  uint64_t header_size = 0;
  std::memcpy(&header_size, prefix.data(), sizeof header_size);
  if (!in || header_size > fs::file_size(path)) throw LoadError("{}: no header", path.string());
  std::string text(header_size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(header_size));
  const Json header = parse_json(text);
  std::vector<Range> tables;
  for (const auto& [name, tensor] : header.items()) {
    if (!name.ends_with(".engram.embed.weight")) continue;
    const uint64_t data = prefix.size() + header_size;
    tables.push_back({data + tensor.at("data_offsets").at(0).get<uint64_t>(),
                      data + tensor.at("data_offsets").at(1).get<uint64_t>()});
  }
  return tables;
}

void clear(std::fstream& file, Range range) {
  static const std::vector<char> kZeros(size_t{1} << 16);
  file.seekp(static_cast<std::streamoff>(range.begin));
  for (uint64_t left = range.end - range.begin; left > 0;) {
    const uint64_t count = std::min<uint64_t>(left, kZeros.size());
    file.write(kZeros.data(), static_cast<std::streamsize>(count));
    left -= count;
  }
}

}  // namespace

int64_t copy_without_engram(const std::string& model, const std::string& target) {
  fs::create_directories(target);
  int64_t cleared = 0;
  for (const auto& entry : fs::directory_iterator(model)) {
    if (!entry.is_regular_file()) continue;
    const fs::path copy = fs::path(target) / entry.path().filename();
    fs::copy_file(entry.path(), copy);
    if (copy.extension() != ".safetensors") continue;
    fs::permissions(copy, fs::perms::owner_write, fs::perm_options::add);
    std::fstream file(copy, std::ios::binary | std::ios::in | std::ios::out);
    for (const Range range : tables_of(copy)) {
      clear(file, range);
      cleared += static_cast<int64_t>(range.end - range.begin);
    }
    if (!file.flush()) throw IoError("{}: cannot be written", copy.string());
  }
  if (cleared == 0) throw LoadError("{}: has no Engram table", model);
  return cleared;
}

}  // namespace lethe::mini
