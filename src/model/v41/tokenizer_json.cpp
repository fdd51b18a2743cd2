#include "model/v41/tokenizer_json.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"

namespace lethe::model::v41 {
namespace {

namespace ondemand = simdjson::ondemand;

/// A hundred times the largest published one; keeps lengths within ICU's 32 bits.
constexpr size_t kMaxFileBytes = size_t{1} << 30;

struct Entry {
  int64_t id = 0;
  std::string token;
};

int64_t read_id(ondemand::value value, const std::string& path, std::string_view token) {
  int64_t id = -1;
  if (value.get_int64().get(id) != simdjson::SUCCESS || id < 0) {
    throw LoadError("{}: the id of token \"{}\" is not a non-negative integer.", path, token);
  }
  return id;
}

void read_vocab(ondemand::object vocab, const std::string& path, std::vector<Entry>& entries) {
  for (auto field : vocab) {
    Entry entry;
    entry.token = std::string(std::string_view(field.unescaped_key()));
    entry.id = read_id(field.value(), path, entry.token);
    entries.push_back(std::move(entry));
  }
}

void read_added_tokens(ondemand::array added, const std::string& path,
                       std::vector<Entry>& entries) {
  for (ondemand::object token : added) {
    Entry entry;
    std::optional<int64_t> id;
    bool has_content = false;
    for (auto field : token) {
      const std::string_view key = field.unescaped_key();
      if (key == "content") {
        entry.token = std::string(std::string_view(field.value().get_string()));
        has_content = true;
      } else if (key == "id") {
        id = read_id(field.value(), path, entry.token);
      }
    }
    if (!id || !has_content) {
      throw LoadError("{}: an entry of \"added_tokens\" has no \"id\" or no \"content\".", path);
    }
    entry.id = *id;
    entries.push_back(std::move(entry));
  }
}

bool read_model(ondemand::object model, const std::string& path, std::vector<Entry>& entries) {
  bool has_vocab = false;
  for (auto field : model) {
    const std::string_view key = field.unescaped_key();
    if (key != "vocab") continue;
    read_vocab(field.value().get_object(), path, entries);
    has_vocab = true;
  }
  return has_vocab;
}

/// Puts the entries in id order; an id given twice must name the same string.
std::vector<std::string> order_by_id(std::vector<Entry> entries, const std::string& path) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.id < b.id; });
  std::vector<std::string> tokens;
  tokens.reserve(entries.size());
  for (Entry& entry : entries) {
    const auto next = static_cast<int64_t>(tokens.size());
    if (entry.id == next) {
      tokens.push_back(std::move(entry.token));
    } else if (entry.id > next) {
      throw LoadError(
          "{}: token ids have a gap: no token has id {}, but id {} exists. Lethe expects ids "
          "0 to n-1 over \"model.vocab\" and \"added_tokens\" together.",
          path, next, entry.id);
    } else if (tokens.back() != entry.token) {
      throw LoadError("{}: token id {} is given to \"{}\" and to \"{}\".", path, entry.id,
                      tokens.back(), entry.token);
    }
  }
  return tokens;
}

std::vector<Entry> read_entries(ondemand::object root, const std::string& path) {
  std::vector<Entry> entries;
  bool has_vocab = false;
  for (auto field : root) {
    const std::string_view key = field.unescaped_key();
    if (key == "model") {
      has_vocab = read_model(field.value().get_object(), path, entries) || has_vocab;
    } else if (key == "added_tokens") {
      read_added_tokens(field.value().get_array(), path, entries);
    }
  }
  if (!has_vocab) {
    throw LoadError(
        "{}: there is no object \"model\" with a \"vocab\" in it. Expected a Hugging Face "
        "tokenizer.json with a BPE model.",
        path);
  }
  return entries;
}

}  // namespace

std::vector<std::string> parse_tokenizer_json_tokens(std::string_view json,
                                                     const std::string& path) {
  if (json.size() > kMaxFileBytes) {
    throw LoadError("{}: {} bytes are too many for a tokenizer.json; at most {} are read.", path,
                    json.size(), kMaxFileBytes);
  }
  try {
    const simdjson::padded_string padded(json);
    ondemand::parser parser;
    ondemand::document document = parser.iterate(padded);
    return order_by_id(read_entries(document.get_object(), path), path);
  } catch (const simdjson::simdjson_error& error) {
    throw LoadError("{}: not a tokenizer.json that can be read: {}", path, error.what());
  }
}

std::vector<std::string> read_tokenizer_json_tokens(const std::string& path) {
  const MappedFile file = MappedFile::open(path);
  const auto bytes = file.bytes();
  return parse_tokenizer_json_tokens({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                     path);
}

}  // namespace lethe::model::v41
