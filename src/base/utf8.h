#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lethe {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

/// Appends the UTF-8 form of a code point (a surrogate or a value past U+10FFFF: U+FFFD).
void append_utf8(std::string& out, char32_t code_point);

/// Bytes of the longest prefix of `text` that is well-formed UTF-8 (Unicode table 3-7: no
/// surrogates, no overlong forms). `text.size()` if all of it is.
size_t valid_utf8_prefix(std::string_view text);

/// Bytes at the end of `text` that begin a code point without completing it: 0 to 3.
size_t incomplete_utf8_suffix(std::string_view text);

}  // namespace lethe
