#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_source.h"

namespace lethe {

/// Text to token ids and back: byte-level BPE as the DeepSeek V4 family uses it (spec formats.md
/// section 3.3, encoding.md section 2). Any bytes can be encoded, and decoding gives them back, if
/// the vocabulary has a token for each byte, as real ones have; see count_unencodable().
///
/// Bytes that are not well-formed UTF-8 are kept: each becomes part of a piece of its own between
/// the pieces of the text around it, and is encoded like any other byte.
///
/// Immutable: any number of threads may use one tokenizer at once. Movable.
class Tokenizer {
 public:
  /// Reads a tokenizer.json. Throws LoadError (missing, malformed, or of a kind that is not
  /// supported: see read_tokenizer_json).
  static Tokenizer load(const std::string& path);
  /// The same from the text of such a file; `name` stands for it in messages.
  static Tokenizer from_json(std::string_view json, const std::string& name);
  /// From the metadata of a GGUF file. Throws LoadError (see read_gguf_tokenizer).
  static Tokenizer from_gguf(const GgufTokenizer& gguf);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  struct EncodeOptions {
    /// Whether the texts of added tokens (`<｜User｜>`, `<think>` ...) become those tokens. Only
    /// for text that the program wrote itself: without it, no text whatever yields an added token.
    bool parse_special = false;
  };
  /// The ids of `text`. No token is added at either end. Time is linear in the text. Throws Error
  /// if the text has 2^31 bytes or more, or an expression of an unusual tokenizer.json gives up on
  /// it.
  std::vector<int32_t> encode(std::string_view text, EncodeOptions options) const;
  std::vector<int32_t> encode(std::string_view text) const { return encode(text, {}); }
  /// Appends them to `ids`.
  void append_encoded(std::string_view text, EncodeOptions options,
                      std::vector<int32_t>& ids) const;

  /// How many bytes of `text` the vocabulary has no token for: encode() leaves them out, as the
  /// reference tokenizers do. 0 for any text if the vocabulary is complete.
  size_t count_unencodable(std::string_view text) const noexcept;

  /// The bytes of `ids` joined; may be cut inside a character (Detokenizer holds such ends back).
  /// Throws UsageError if one of them is no token.
  std::string decode(std::span<const int32_t> ids) const;

  /// One more than the highest id. The model's own vocabulary may be larger: it is padded.
  int32_t size() const noexcept;
  bool has_token(int32_t id) const noexcept;
  /// Bytes of a token, which are not always whole characters; empty if there is none of that id.
  /// Valid as long as the tokenizer.
  std::string_view token_bytes(int32_t id) const noexcept;
  /// Whether the id is an added token, which encode() makes only with parse_special.
  bool is_added(int32_t id) const noexcept;
  /// Whether it is one that the file calls special (control tokens; `<think>` is not one).
  bool is_special(int32_t id) const noexcept;

  /// The added token of exactly this text.
  std::optional<int32_t> find_added(std::string_view text) const;
  /// The same; throws LoadError if the tokenizer lacks it.
  int32_t added_token(std::string_view text) const;

  /// As the file states them, else by their DeepSeek names; nothing if it has none.
  std::optional<int32_t> bos() const noexcept;
  std::optional<int32_t> eos() const noexcept;
  std::optional<int32_t> pad() const noexcept;

 private:
  struct Impl;
  explicit Tokenizer(const TokenizerSource& source);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace lethe
