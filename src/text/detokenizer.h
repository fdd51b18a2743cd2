#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace lethe {

/// Turns bytes that come in arbitrary pieces into text that is well-formed UTF-8 in every piece it
/// hands out. A stretch that no continuation can make well-formed becomes one U+FFFD; a character
/// that is not complete yet waits for its end. Whatever the pieces, what comes out joined is the
/// same. One thread.
class Utf8Stream {
 public:
  /// The text that is complete with these bytes; may be empty.
  std::string push(std::string_view bytes);
  /// What was waiting (nothing, or one U+FFFD); begins anew.
  std::string finish();

  /// Bytes of an unfinished character that wait: 0 to 3.
  size_t pending() const noexcept { return pending_.size(); }

 private:
  std::string pending_;
};

/// Token ids to text as they are sampled, never half a character. Added tokens give their text. An
/// id without a token (models pad their vocabulary) gives U+FFFD. One thread; the tokenizer must
/// outlive it.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  /// The text that is complete with this token; may be empty.
  std::string push(int32_t id);
  /// What was waiting (nothing, or one U+FFFD); begins anew.
  std::string finish() { return stream_.finish(); }

 private:
  const Tokenizer& tokenizer_;
  Utf8Stream stream_;
};

}  // namespace lethe
