#include "model/v41/checkpoint_tokens.h"

#include <filesystem>

#include "base/error.h"
#include "model/v41/tokenizer_json.h"
#include "tensor/gguf.h"

namespace lethe::model::v41 {

namespace {

constexpr int64_t kGgufTokenUnused = 5;

std::vector<std::string> gguf_tokens(const GgufFile& gguf, const std::string& path) {
  const GgufValue* tokens = gguf.value("tokenizer.ggml.tokens");
  if (tokens == nullptr || !tokens->is_array() ||
      tokens->element_type() != GgufValue::Type::String) {
    throw LoadError(
        "{}: no vocabulary (metadata tokenizer.ggml.tokens). Engram needs it to know which tokens "
        "share an id; use a GGUF that was converted with its tokenizer.",
        path);
  }
  std::vector<std::string> result;
  for (const std::string_view token : tokens->strings()) result.emplace_back(token);
  const GgufValue* types = gguf.value("tokenizer.ggml.token_type");
  while (types != nullptr && types->size() >= result.size() && !result.empty() &&
         types->as_int(result.size() - 1) == kGgufTokenUnused) {
    result.pop_back();
  }
  return result;
}

}  // namespace

EngramTokenMap load_engram_token_map(const Checkpoint& checkpoint) {
  const int64_t expected = checkpoint.config().engram.compressed_vocab_size;
  if (checkpoint.gguf() != nullptr) {
    const EngramTokenMap map =
        build_engram_token_map(gguf_tokens(*checkpoint.gguf(), checkpoint.path()));
    check_engram_token_map(map, expected, checkpoint.path());
    return map;
  }
  const std::string path =
      (std::filesystem::path(checkpoint.directory()) / "tokenizer.json").string();
  if (!std::filesystem::exists(path)) {
    throw LoadError(
        "{}: there is no such file. A V4.1 model cannot run without its tokenizer: Engram hashes "
        "tokens by their text. Put the tokenizer.json of the release beside the weights.",
        path);
  }
  const EngramTokenMap map = build_engram_token_map(read_tokenizer_json_tokens(path));
  check_engram_token_map(map, expected, path);
  return map;
}

}  // namespace lethe::model::v41
