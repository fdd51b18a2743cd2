// Any bytes as text: they come back, make no added token, are cut as the slow twin cuts them and
// stream as a whole.

#include <unicode/uchar.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/code_point.h"
#include "text/detokenizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace {

using namespace std::string_view_literals;

/// All bytes, a few merges of each kind, two added tokens.
lethe::Tokenizer small_tokenizer() {
  static std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) {
    texts.push_back(lethe::byte_alphabet_char(static_cast<uint8_t>(byte)));
  }
  lethe::GgufTokenizer gguf;
  gguf.name = "fuzz";
  gguf.model = "gpt2";
  gguf.pre = "deepseek-v3";
  gguf.tokens.assign(texts.begin(), texts.end());
  for (const auto& [merge, result] :
       {std::pair("a a"sv, "aa"sv), std::pair("aa aa"sv, "aaaa"sv), std::pair("b a"sv, "ba"sv),
        std::pair("Ġ a"sv, "Ġa"sv), std::pair("Ġ Ġ"sv, "ĠĠ"sv), std::pair("Ċ Ċ"sv, "ĊĊ"sv)}) {
    gguf.merges.push_back(merge);
    gguf.tokens.push_back(result);
  }
  gguf.token_types.assign(gguf.tokens.size(), 1);
  for (const std::string_view added : {"<think>"sv, "<｜User｜>"sv}) {
    gguf.tokens.push_back(added);
    gguf.token_types.push_back(3);
  }
  return lethe::Tokenizer::from_gguf(gguf);
}

std::vector<std::string_view> split(const lethe::PreTokenizer& by, std::string_view text) {
  std::vector<std::string_view> pieces;
  by.for_each_piece(text, [&](std::string_view piece) { pieces.push_back(piece); });
  return pieces;
}

/// PCRE2 10.42 knows Unicode 14.
bool twin_knows(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const lethe::CodePoint c = lethe::code_point_at(text, at);
    UVersionInfo age = {};
    if (c.kind == lethe::CodePoint::Kind::Valid) u_charAge(static_cast<UChar32>(c.value), age);
    if (age[0] > 14) return false;
    at += c.length;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const lethe::Tokenizer tokenizer = small_tokenizer();
  static const lethe::PreTokenizer by_hand(lethe::deepseek_splits(), "fuzz");
  static const lethe::PreTokenizer by_regex(lethe::deepseek_splits(), "fuzz",
                                            lethe::PreTokenizer::Engine::Regex);
  // Short texts reach every rule, and many more of them are tried.
  const std::string_view text(reinterpret_cast<const char*>(data), std::min<size_t>(size, 1024));
  LETHE_CHECK(tokenizer.decode(tokenizer.encode(text, {.parse_special = true})) == text);
  const auto ids = tokenizer.encode(text);
  LETHE_CHECK(tokenizer.decode(ids) == text);
  lethe::Detokenizer detokenizer(tokenizer);
  std::string streamed;
  for (const int32_t id : ids) {
    LETHE_CHECK(!tokenizer.is_added(id));
    streamed += detokenizer.push(id);
  }
  streamed += detokenizer.finish();
  lethe::Utf8Stream whole;
  std::string expected = whole.push(text);
  expected += whole.finish();
  LETHE_CHECK(streamed == expected);
  if (twin_knows(text)) LETHE_CHECK(split(by_hand, text) == split(by_regex, text));
  return 0;
}
