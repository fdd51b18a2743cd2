#include "model/v41/engram_token_map.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <array>
#include <optional>
#include <unordered_map>

#include "base/check.h"
#include "base/error.h"

namespace lethe::model::v41 {
namespace {

constexpr UChar32 kReplacement = 0xFFFD;
/// Stands for "one space" while the ends are stripped, as in the release's normalizer.
constexpr UChar32 kSpaceMark = 0xE000;

/// Next code point of s at `i`, which moves past it; negative if the bytes are not UTF-8.
UChar32 next_code_point(std::string_view s, int32_t& i) {
  UChar32 c = 0;
  U8_NEXT(reinterpret_cast<const uint8_t*>(s.data()), i, static_cast<int32_t>(s.size()), c);
  return c;
}

/// GPT-2's byte alphabet: printable bytes are written as the code point of the same number, the
/// other 68 in ascending order as U+0100 to U+0143.
std::array<int16_t, 0x144> make_byte_of_code_point() {
  std::array<int16_t, 0x144> byte_of{};
  byte_of.fill(-1);
  int next_other = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    byte_of[static_cast<size_t>(printable ? b : next_other++)] = static_cast<int16_t>(b);
  }
  return byte_of;
}

/// The bytes a vocabulary string stands for; a string with a character outside the byte alphabet
/// (an added token) stands for itself.
std::string decode_token(const std::string& token) {
  static const auto kByteOf = make_byte_of_code_point();
  std::string bytes;
  for (int32_t i = 0; i < static_cast<int32_t>(token.size());) {
    const UChar32 c = next_code_point(token, i);
    if (c < 0 || static_cast<size_t>(c) >= kByteOf.size()) return token;
    const int16_t byte = kByteOf[static_cast<size_t>(c)];
    if (byte < 0) return token;
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

/// True if a lossy UTF-8 decoder would leave a U+FFFD in the text.
bool decodes_with_replacement(std::string_view text) {
  for (int32_t i = 0; i < static_cast<int32_t>(text.size());) {
    const UChar32 c = next_code_point(text, i);
    if (c < 0 || c == kReplacement) return true;
  }
  return false;
}

icu::UnicodeString normalized(const icu::Normalizer2* form, const icu::UnicodeString& text) {
  UErrorCode error = U_ZERO_ERROR;
  icu::UnicodeString result = form->normalize(text, error);
  LETHE_CHECK(U_SUCCESS(error), "ICU normalization failed: {}", u_errorName(error));
  return result;
}

const icu::Normalizer2* nfkc_form() {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = icu::Normalizer2::getNFKCInstance(error);
  LETHE_CHECK(U_SUCCESS(error), "ICU has no NFKC data: {}", u_errorName(error));
  return form;
}

const icu::Normalizer2* nfd_form() {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* form = icu::Normalizer2::getNFDInstance(error);
  LETHE_CHECK(U_SUCCESS(error), "ICU has no NFD data: {}", u_errorName(error));
  return form;
}

bool is_mark(UChar32 c) {
  return (U_GET_GC_MASK(c) & U_GC_M_MASK) != 0;
}

bool is_ascii_space(UChar32 c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/// Steps 3 to 5: marks go, letters are lowered, runs of ASCII white space become one space.
/// Simple lower-casing is the full one here: U+0130, the only character whose full form is longer,
/// does not survive NFD.
icu::UnicodeString fold(const icu::UnicodeString& text) {
  icu::UnicodeString folded;
  bool in_space = false;
  for (int32_t i = 0; i < text.length(); i = text.moveIndex32(i, 1)) {
    const UChar32 c = text.char32At(i);
    if (is_mark(c)) continue;
    const bool space = is_ascii_space(c);
    if (!space) folded.append(u_tolower(c));
    if (space && !in_space) folded.append(UChar32{' '});
    in_space = space;
  }
  return folded;
}

/// Unicode White_Space off both ends.
icu::UnicodeString strip(const icu::UnicodeString& text) {
  int32_t begin = 0;
  int32_t end = text.length();
  while (begin < end && u_isUWhiteSpace(text.char32At(begin))) ++begin;
  while (end > begin && u_isUWhiteSpace(text.char32At(end - 1))) --end;
  return {text, begin, end - begin};
}

/// What a token is compared by: its raw string if it is no whole UTF-8 text, else its normal form,
/// else (nothing left of it) its text.
std::string compression_key(const std::string& token) {
  std::string text = decode_token(token);
  if (decodes_with_replacement(text)) return token;
  std::string key = engram_normalize(text);
  return key.empty() ? text : key;
}

}  // namespace

std::string engram_normalize(std::string_view text) {
  static const icu::Normalizer2* const kNfkc = nfkc_form();
  static const icu::Normalizer2* const kNfd = nfd_form();
  const auto source = icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  icu::UnicodeString folded = fold(normalized(kNfd, normalized(kNfkc, source)));
  if (folded == icu::UnicodeString(UChar32{' '})) folded = icu::UnicodeString(kSpaceMark);
  folded = strip(folded);
  folded.findAndReplace(icu::UnicodeString(kSpaceMark), icu::UnicodeString(UChar32{' '}));
  std::string result;
  folded.toUTF8String(result);
  return result;
}

EngramTokenMap build_engram_token_map(std::span<const std::string> tokens) {
  EngramTokenMap map;
  map.compressed.reserve(tokens.size());
  std::unordered_map<std::string, int32_t> id_of_key;
  id_of_key.reserve(tokens.size());
  for (const std::string& token : tokens) {
    const auto next = static_cast<int32_t>(id_of_key.size());
    map.compressed.push_back(id_of_key.try_emplace(compression_key(token), next).first->second);
  }
  map.compressed_size = static_cast<int64_t>(id_of_key.size());
  return map;
}

void check_engram_token_map(const EngramTokenMap& map, int64_t expected_size,
                            const std::string& source) {
  if (map.compressed_size == expected_size) return;
  throw LoadError(
      "{}: its {} tokens compress to {} Engram ids, but the model's "
      "engram_compressed_vocab_size is {}. The tokenizer belongs to another model: use the "
      "tokenizer.json that was released with these weights.",
      source, map.compressed.size(), map.compressed_size, expected_size);
}

}  // namespace lethe::model::v41
