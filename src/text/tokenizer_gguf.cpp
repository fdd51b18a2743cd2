#include <fmt/core.h>

#include "base/error.h"
#include "base/printable.h"
#include "text/tokenizer_source.h"

namespace lethe {
namespace {

/// Values of tokenizer.ggml.token_type.
enum class GgufTokenType : int64_t {
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6,
};

GgufTokenType token_type(int64_t value, size_t id, const std::string& name) {
  const auto type = static_cast<GgufTokenType>(value);
  if (type < GgufTokenType::Normal || type > GgufTokenType::Byte) {
    throw LoadError("{}: tokenizer.ggml.token_type of token {} is {}; expected 1 to 6.", name, id,
                    value);
  }
  return type;
}

void check_kind(const GgufTokenizer& gguf) {
  if (gguf.model != "gpt2") {
    throw LoadError(
        "{}: tokenizer.ggml.model is \"{}\"; only \"gpt2\" (byte-level BPE) is supported, which "
        "the DeepSeek V4 family uses. If the file has no tokenizer, give the tokenizer.json of the "
        "model instead.",
        gguf.name, printable(gguf.model));
  }
  if (gguf.pre != "deepseek-v3" && gguf.pre != "joyai-llm") {
    throw LoadError(
        "{}: tokenizer.ggml.pre is \"{}\"; expected \"deepseek-v3\" or \"joyai-llm\", the names of "
        "the DeepSeek V3 and V4 pre-tokenizer. Text would be cut in other places than in training.",
        gguf.name, printable(gguf.pre));
  }
  if (gguf.token_types.size() != gguf.tokens.size()) {
    throw LoadError(
        "{}: tokenizer.ggml.token_type has {} entries for {} tokens; without them special tokens "
        "cannot be told from words.",
        gguf.name, gguf.token_types.size(), gguf.tokens.size());
  }
}

}  // namespace

TokenizerSource::Merge split_merge(std::string_view merge, size_t rank, const std::string& name) {
  const size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    throw LoadError(
        "{}: merge {} is \"{}\"; expected two tokens with exactly one space between them.", name,
        rank, printable(merge));
  }
  return {merge.substr(0, space), merge.substr(space + 1)};
}

TokenizerSource read_gguf_tokenizer(const GgufTokenizer& gguf) {
  check_kind(gguf);
  TokenizerSource source;
  source.name = gguf.name;
  source.splits = deepseek_splits();
  source.bos = gguf.bos_token_id;
  source.eos = gguf.eos_token_id;
  source.pad = gguf.padding_token_id;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const GgufTokenType type = token_type(gguf.token_types[id], id, gguf.name);
    const auto signed_id = static_cast<int64_t>(id);
    if (type == GgufTokenType::Control || type == GgufTokenType::UserDefined) {
      source.added.push_back({gguf.tokens[id], signed_id, type == GgufTokenType::Control});
    } else {
      source.tokens.push_back({gguf.tokens[id], signed_id, type == GgufTokenType::Unused});
    }
  }
  for (size_t rank = 0; rank < gguf.merges.size(); ++rank) {
    source.merges.push_back(split_merge(gguf.merges[rank], rank, gguf.name));
  }
  return source;
}

}  // namespace lethe
