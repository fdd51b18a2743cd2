#include "text/byte_alphabet.h"

#include <array>

#include "text/code_point.h"

namespace lethe {
namespace {

constexpr char32_t kFirstShifted = 0x100;
constexpr size_t kAlphabetEnd = 0x144;

constexpr bool is_shifted(unsigned byte) {
  return byte < 33 || (byte > 126 && byte < 161) || byte == 173;
}

/// Code point of each byte.
constexpr std::array<char16_t, 256> kCharOfByte = [] {
  std::array<char16_t, 256> chars = {};
  char32_t shifted = kFirstShifted;
  for (unsigned byte = 0; byte < 256; ++byte) {
    chars[byte] = static_cast<char16_t>(is_shifted(byte) ? shifted++ : byte);
  }
  return chars;
}();

/// Byte of each code point; -1 if it is not in the alphabet.
constexpr std::array<int16_t, kAlphabetEnd> kByteOfChar = [] {
  std::array<int16_t, kAlphabetEnd> bytes = {};
  for (auto& byte : bytes) byte = -1;
  for (size_t byte = 0; byte < 256; ++byte) bytes[kCharOfByte[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();
static_assert(kCharOfByte[' '] == 0x120 && kCharOfByte[173] == kAlphabetEnd - 1);

}  // namespace

std::string byte_alphabet_char(uint8_t byte) {
  const char16_t c = kCharOfByte[byte];
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | (c >> 6)), static_cast<char>(0x80 | (c & 0x3F))};
}

void append_token_bytes(std::string_view token, std::string& out) {
  const size_t start = out.size();
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = code_point_at(token, at);
    const bool known = c.kind == CodePoint::Kind::Valid && c.value < kAlphabetEnd;
    const int byte = known ? kByteOfChar[c.value] : -1;
    if (byte < 0) {
      out.resize(start);
      out += token;
      return;
    }
    out += static_cast<char>(byte);
    at += c.length;
  }
}

}  // namespace lethe
