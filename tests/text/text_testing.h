#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "golden_paths.h"
#include "text/tokenizer.h"

namespace lethe::testing {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The small tokenizer of the tree: 560 tokens, 301 merges, all 256 bytes.
inline std::string tiny_tokenizer_json() {
  return read_text(golden_dir() / "v41-tiny-a" / "tokenizer.json");
}
inline const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::from_json(tiny_tokenizer_json(), "tokenizer.json");
  return tokenizer;
}

/// The real vocabulary, where it lies beside the project; null elsewhere.
inline std::filesystem::path real_tokenizer_path() {
  return shared_golden_dir() / "tokenizer" / "tokenizer.json";
}
inline const Tokenizer* real_tokenizer() {
  static const std::optional<Tokenizer> tokenizer = [] {
    const auto path = real_tokenizer_path();
    return std::filesystem::exists(path) ? std::optional(Tokenizer::load(path.string()))
                                         : std::nullopt;
  }();
  return tokenizer ? &*tokenizer : nullptr;
}

inline std::string utf8(char32_t c) {
  std::string text;
  append_utf8(text, c);
  return text;
}

/// Characters that sit on the edges of the splitter's rules, and everything else now and then.
inline char32_t random_char(std::mt19937& random) {
  static const std::u32string edges =
      U"aZé ߡ  "
      U"\t\r\n\v\f\u0085\u00A0\u1680\u180E\u2003\u2028\u202F\u3000\u200B\uFEFF\u0000\u0001\u007F"
      U"0123456789²½Ⅷ٣一二龥\u9FA6\u3040ぁゟ゠ヿ・ーア\u3097\u0301\u064E\u093E\u20DD!\"#'()/"
      U"<>@[\\]^_`{|}~"
      U"．，、。“”€+="
      U"°©½→😀👍🏽\u200D\uFE0F\U000E0001\U0010FFFF\uE000\u0378abcdefxyz";
  if (random() % 8 != 0) return edges[random() % edges.size()];
  const auto c = static_cast<char32_t>(random() % (random() % 2 == 0 ? 0x3000 : 0x110000));
  return c >= 0xD800 && c < 0xE000 ? U'x' : c;
}

inline std::string random_text(std::mt19937& random, size_t chars) {
  std::string text;
  while (chars-- > 0) {
    const std::string c = utf8(random_char(random));
    // Runs: most rules are about them.
    for (size_t run = random() % 4 == 0 ? random() % 5 + 1 : 1; run > 0; --run) text += c;
  }
  return text;
}

/// Text with bytes of it replaced, dropped or doubled: not UTF-8 for the most part.
inline std::string random_bytes(std::mt19937& random, size_t chars) {
  std::string text = random_text(random, chars);
  for (size_t damage = text.size() / 8 + 1; damage > 0 && !text.empty(); --damage) {
    const size_t at = random() % text.size();
    if (random() % 2 == 0) {
      text[at] = static_cast<char>(random());
    } else {
      text.erase(at, 1);
    }
  }
  return text;
}

}  // namespace lethe::testing
