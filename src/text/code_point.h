#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lethe {

/// One step through text that is meant to be UTF-8 but need not be.
struct CodePoint {
  enum class Kind : uint8_t {
    Valid,
    Invalid,    ///< `length` bytes that no continuation can make well-formed
    Truncated,  ///< the text ends inside what may still become a code point
  };
  char32_t value;  ///< meaningful if Valid
  uint8_t length;  ///< bytes: at least 1; if not Valid, the longest part that could begin one
  Kind kind;
};

/// The code point that begins at byte `at` < text.size(). Well-formed means Unicode table 3-7: no
/// overlong forms, no surrogates, nothing past U+10FFFF; an ill-formed stretch is cut into the
/// "maximal subparts" that decoders replace by one U+FFFD each.
inline CodePoint code_point_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, CodePoint::Kind::Valid};
  if (lead < 0xC2 || lead > 0xF4) return {0, 1, CodePoint::Kind::Invalid};
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  char32_t value = lead & (0x7F >> length);
  for (size_t i = 1; i < length; ++i) {
    const auto seen = static_cast<uint8_t>(i);
    if (i == text.size() - at) return {0, seen, CodePoint::Kind::Truncated};
    if (byte(i) < low || byte(i) > high) return {0, seen, CodePoint::Kind::Invalid};
    value = (value << 6) | (byte(i) & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {value, static_cast<uint8_t>(length), CodePoint::Kind::Valid};
}

}  // namespace lethe
