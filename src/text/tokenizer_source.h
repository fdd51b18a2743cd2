#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer.h"

namespace lethe {

/// What a byte-level BPE tokenizer is made of, wherever it was read from. Strings point into the
/// file that was read, which `storage` may keep alive.
struct TokenizerSource {
  struct Token {
    std::string_view text;  ///< in the byte alphabet (byte_alphabet.h)
    int64_t id;
    bool unused = false;  ///< fills a gap in the ids: never made from text; its text may repeat
  };
  struct Merge {
    std::string_view left;
    std::string_view right;
  };
  struct Added {
    std::string_view text;  ///< literal
    int64_t id;
    bool special;  ///< a control token, as against a word added by the model's author
  };
  std::string name;  ///< the file, for messages
  std::vector<Token> tokens;
  std::vector<Merge> merges;  ///< by rank
  std::vector<Added> added;
  std::vector<SplitRule> splits;
  bool ignore_merges = false;  ///< a word that is a token is that token, whatever the merges say
  std::optional<int64_t> bos;  ///< where the file names them; otherwise found by their text
  std::optional<int64_t> eos;
  std::optional<int64_t> pad;
  std::shared_ptr<const void> storage;
};

/// The tokenizer of a GGUF file, as its metadata states it (spec formats.md section 3.3).
struct GgufTokenizer {
  std::string name;                      ///< the file, for messages
  std::string model;                     ///< tokenizer.ggml.model
  std::string pre;                       ///< tokenizer.ggml.pre
  std::vector<std::string_view> tokens;  ///< tokenizer.ggml.tokens: [id]
  std::vector<int64_t> token_types;      ///< tokenizer.ggml.token_type: [id]
  std::vector<std::string_view> merges;  ///< tokenizer.ggml.merges: "left right"
  std::optional<int64_t> bos_token_id;   ///< tokenizer.ggml.bos_token_id
  std::optional<int64_t> eos_token_id;
  std::optional<int64_t> padding_token_id;
};

/// Reads tokenizer.json (`json`: its text). Throws LoadError: not JSON, or a tokenizer of a kind
/// that is not supported, naming the part: only BPE over bytes, without a normalizer, split by
/// regular expressions.
TokenizerSource read_tokenizer_json(std::string_view json, const std::string& name);

/// Throws LoadError: a model other than "gpt2", an unknown `pre`, unknown token types, lists whose
/// lengths disagree.
TokenizerSource read_gguf_tokenizer(const GgufTokenizer& gguf);

/// A merge written as its two tokens with one space between them. Throws LoadError if there is not
/// exactly one.
TokenizerSource::Merge split_merge(std::string_view merge, size_t rank, const std::string& name);

}  // namespace lethe
