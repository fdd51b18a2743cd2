#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lethe {

/// The alphabet in which byte-level vocabularies write bytes as visible characters (GPT-2; spec
/// deepseek-v4.1.md section 6.1): bytes 33-126, 161-172 and 174-255 as the code point of the same
/// number, the other 68 in ascending order as U+0100 to U+0143.
std::string byte_alphabet_char(uint8_t byte);

/// Appends the bytes that a token of the vocabulary stands for: those its characters name or, if
/// any of them is not in the alphabet, the token's own UTF-8 bytes.
void append_token_bytes(std::string_view token, std::string& out);

}  // namespace lethe
