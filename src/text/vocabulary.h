#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/merge_table.h"
#include "text/token_index.h"
#include "text/tokenizer_source.h"

namespace lethe {

/// Every token that text or a merge can name, by its text in the file (`source` must outlive the
/// index). Throws LoadError: an id outside [0, MergeTable::kMaxTokens), one text with two ids.
TokenIndex index_tokens(const TokenizerSource& source);

/// The tokens of a tokenizer: what bytes each id stands for, and which ids are added tokens. Owns
/// all it needs of the file. Immutable; any thread.
class Vocabulary {
 public:
  /// Throws LoadError: two tokens with one id, no token for any byte, an added token that is empty,
  /// longer than AddedTokens::kMaxBytes, or the token of a byte.
  Vocabulary(const TokenizerSource& source, const TokenIndex& index);
  Vocabulary(const Vocabulary&) = delete;  // added() points into it
  Vocabulary& operator=(const Vocabulary&) = delete;

  /// One more than the highest id.
  int32_t size() const noexcept { return static_cast<int32_t>(tokens_.size()); }
  bool has(int32_t id) const noexcept { return flags_of(id) != 0; }
  bool is_added(int32_t id) const noexcept { return (flags_of(id) & kAdded) != 0; }
  bool is_special(int32_t id) const noexcept { return (flags_of(id) & kSpecial) != 0; }
  /// Bytes of a token; empty if there is none of that id.
  std::string_view bytes(int32_t id) const noexcept {
    if (!has(id)) return {};
    const Token& token = tokens_[static_cast<size_t>(id)];
    return std::string_view(bytes_).substr(token.begin, token.length);
  }
  const AddedTokens& added() const noexcept { return added_; }
  /// Token of each byte; kNoByteToken where there is none, as in vocabularies cut small for tests.
  const std::array<int32_t, 256>& byte_tokens() const noexcept { return byte_tokens_; }

 private:
  struct Token {
    uint32_t begin = 0;  // in bytes_
    uint32_t length = 0;
    uint8_t flags = 0;
  };
  static constexpr uint8_t kPresent = 1;
  static constexpr uint8_t kAdded = 2;
  static constexpr uint8_t kSpecial = 4;

  uint8_t flags_of(int32_t id) const noexcept {
    return id >= 0 && id < size() ? tokens_[static_cast<size_t>(id)].flags : uint8_t{0};
  }
  void make_room(const TokenizerSource& source);
  void set_bytes(int64_t id, std::string_view text);
  void set_tokens(const TokenizerSource& source);
  void set_added_tokens(const TokenizerSource& source);
  void set_byte_tokens(const TokenizerSource& source, const TokenIndex& index);

  std::vector<Token> tokens_;  // [id]
  std::string bytes_;          // of all tokens
  std::string added_texts_;    // of all added tokens, as they stand in text
  AddedTokens added_;
  std::array<int32_t, 256> byte_tokens_ = {};
};

/// The merges as ids, by rank. A merge that would make an added token is left out: added tokens
/// come from their text only. Throws LoadError if a part or a result is no token, or there are more
/// than MergeTable::kMaxMerges.
std::vector<MergeTable::Merge> resolve_merges(const TokenizerSource& source,
                                              const TokenIndex& index,
                                              const Vocabulary& vocabulary);

}  // namespace lethe
