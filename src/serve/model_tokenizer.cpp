#include "serve/model_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tensor/gguf.h"

namespace lethe::serve {
namespace {

namespace fs = std::filesystem;

const GgufValue& array(const GgufFile& file, const std::string& name, const std::string& key) {
  const GgufValue* value = file.value(key);
  if (value == nullptr || !value->is_array()) {
    throw LoadError(
        "{}: there is no array \"{}\"; the file has no tokenizer, or not a whole one. Use the "
        "model's tokenizer.json.",
        name, key);
  }
  return *value;
}

std::string text(const GgufFile& file, const std::string& key) {
  const GgufValue* value = file.value(key);
  return std::string(value == nullptr ? "" : value->as_string().value_or(""));
}

std::optional<int64_t> integer(const GgufFile& file, const std::string& key) {
  const GgufValue* value = file.value(key);
  return value == nullptr ? std::nullopt : value->as_int();
}

std::string gguf_of_directory(const std::string& directory) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool draft = name.rfind("mtp", 0) == 0;
    if (entry.path().extension() == ".gguf" && !draft) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  if (found.empty()) {
    throw LoadError("{}: holds neither a tokenizer.json nor a .gguf.", directory);
  }
  // The parts of one split file sort together, the first one first.
  const bool split = found.front().find("-00001-of-") != std::string::npos;
  if (found.size() > 1 && !split) {
    throw LoadError("{}: holds {} .gguf files and no tokenizer.json; name the one you mean.",
                    directory, found.size());
  }
  return found.front();
}

Tokenizer load_gguf(const std::string& path) {
  return gguf_tokenizer(GgufFile::open(path), path);
}

}  // namespace

Tokenizer gguf_tokenizer(const GgufFile& file, const std::string& name) {
  const std::string prefix = "tokenizer.ggml.";
  GgufTokenizer gguf;
  gguf.name = name;
  gguf.model = text(file, prefix + "model");
  gguf.pre = text(file, prefix + "pre");
  gguf.tokens = array(file, name, prefix + "tokens").strings();
  gguf.merges = array(file, name, prefix + "merges").strings();
  const GgufValue& types = array(file, name, prefix + "token_type");
  for (uint64_t i = 0; i < types.size(); ++i) {
    // 0 is no type: a value that is no integer is refused as one that is unknown.
    gguf.token_types.push_back(types.as_int(i).value_or(0));
  }
  gguf.bos_token_id = integer(file, prefix + "bos_token_id");
  gguf.eos_token_id = integer(file, prefix + "eos_token_id");
  gguf.padding_token_id = integer(file, prefix + "padding_token_id");
  return Tokenizer::from_gguf(gguf);
}

Tokenizer load_model_tokenizer(const std::string& model) {
  const fs::path path = model;
  if (fs::is_directory(path)) {
    const fs::path json = path / "tokenizer.json";
    if (fs::exists(json)) return Tokenizer::load(json.string());
    return load_gguf(gguf_of_directory(model));
  }
  if (path.extension() == ".gguf") return load_gguf(model);
  return Tokenizer::load(model);
}

}  // namespace lethe::serve
