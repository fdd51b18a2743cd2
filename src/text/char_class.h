#pragma once

#include <cstdint>

namespace lethe {

/// What the DeepSeek pre-tokenizer asks of a character, as bits. Categories are ICU's (Unicode
/// 15.0 with ICU 72); white space is the property White_Space, as in the regex engine of the
/// reference tokenizer.
struct CharClass {
  static constexpr uint8_t kWord = 1;      ///< \p{L} or \p{M}
  static constexpr uint8_t kNumber = 2;    ///< \p{N}
  static constexpr uint8_t kPunct = 4;     ///< \p{P} or \p{S}
  static constexpr uint8_t kSpace = 8;     ///< \s
  static constexpr uint8_t kBreak = 16;    ///< \r or \n
  static constexpr uint8_t kCjk = 32;      ///< U+4E00-9FA5, U+3040-309F, U+30A0-30FF
  static constexpr uint8_t kInvalid = 64;  ///< a byte that is not part of well-formed UTF-8
  static constexpr uint8_t kEnd = 128;     ///< past the last character
};

/// The class of every code point: 0x110000 entries, never kInvalid or kEnd. Built on first use;
/// any thread.
const uint8_t* char_class_table();

}  // namespace lethe
