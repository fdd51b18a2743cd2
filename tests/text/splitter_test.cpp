#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include "base/error.h"
#include "text/code_point.h"
#include "text/pre_tokenizer.h"
#include "text/text_testing.h"

namespace lethe {
namespace {

using Pieces = std::vector<std::string>;

Pieces split(const PreTokenizer& pre_tokenizer, std::string_view text) {
  Pieces pieces;
  pre_tokenizer.for_each_piece(text, [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

const PreTokenizer& by_hand() {
  static const PreTokenizer pre_tokenizer(deepseek_splits(), "test");
  return pre_tokenizer;
}
const PreTokenizer& by_regex() {
  static const PreTokenizer twin(deepseek_splits(), "test", PreTokenizer::Engine::Regex);
  return twin;
}

/// PCRE2 10.42 knows Unicode 14, ICU may know more: characters of later versions are left out.
bool both_know(char32_t c) {
  UVersionInfo age = {};
  u_charAge(static_cast<UChar32>(c), age);
  return age[0] <= 14;
}

bool both_know(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (c.kind == CodePoint::Kind::Valid && !both_know(c.value)) return false;
    at += c.length;
  }
  return true;
}

TEST(DeepSeekSplitter, CutsAsTheThreePatternsSay) {
  EXPECT_EQ(split(by_hand(), ""), Pieces{});
  EXPECT_EQ(split(by_hand(), "Hello, world 12345!"),
            (Pieces{"Hello", ",", " world", " ", "123", "45", "!"}));
  EXPECT_EQ(split(by_hand(), "a  b\n\n  c   "), (Pieces{"a", " ", " b", "\n\n", " ", " c", "   "}));
  EXPECT_EQ(split(by_hand(), "你好ワールド hi"), (Pieces{"你好ワールド", " hi"}));
  EXPECT_EQ(split(by_hand(), "ア・イ"), (Pieces{"ア", "・", "イ"}));
  EXPECT_EQ(split(by_hand(), ".foo() {}\r\n\tx"), (Pieces{".foo", "()", " {}\r\n", "\tx"}));
  EXPECT_EQ(split(by_hand(), "caf\u00e9 don't"), (Pieces{"caf\u00e9", " don", "'t"}));
  EXPECT_EQ(split(by_hand(), "!caf\u00e9"), (Pieces{"!caf", "\u00e9"}));
  EXPECT_EQ(split(by_hand(), " \n \n x"), (Pieces{" \n \n", " x"}));
  EXPECT_EQ(split(by_hand(), "\x01\x02z"), (Pieces{"\x01", "\x02z"}));
  EXPECT_EQ(split(by_hand(), "  7"), (Pieces{"  ", "7"}));
}

TEST(DeepSeekSplitter, BytesThatAreNotUtf8AreUnmatched) {
  EXPECT_EQ(split(by_hand(),
                  "ab\xff\xfe"
                  "cd"),
            (Pieces{"ab", "\xff\xfe", "cd"}));
  EXPECT_EQ(split(by_hand(), "a  \xe4\xbd z"), (Pieces{"a", "  ", "\xe4\xbd", " z"}));
  EXPECT_EQ(split(by_hand(), "\x01\xff\x01"), (Pieces{"\x01\xff\x01"}));
}

TEST(DeepSeekSplitter, IsChosenForTheThreePatternsInEitherSpelling) {
  EXPECT_TRUE(by_hand().is_deepseek());
  EXPECT_FALSE(by_regex().is_deepseek());
  auto raw = deepseek_splits();
  auto& pattern = raw[2].pattern;
  for (const auto& [escape, byte] : {std::pair("\\r", "\r"), std::pair("\\n", "\n")}) {
    for (size_t at; (at = pattern.find(escape)) != std::string::npos;) pattern.replace(at, 2, byte);
  }
  EXPECT_NE(raw, deepseek_splits());
  EXPECT_TRUE(PreTokenizer(raw, "test").is_deepseek());
  raw.pop_back();
  EXPECT_FALSE(PreTokenizer(raw, "test").is_deepseek());
}

TEST(DeepSeekSplitter, AgreesWithPcre2OnEveryCharacterBetweenLetters) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if ((c >= 0xD800 && c < 0xE000) || !both_know(c)) continue;
    // Beyond the planes with characters, a sample will do.
    if (c >= 0x32000 && c % 97 != 0) continue;
    std::string text = "a";
    for (const std::string& part :
         {testing::utf8(c), testing::utf8(c), std::string(" "), testing::utf8(c)}) {
      text += part;
    }
    text += 'b';
    ASSERT_EQ(split(by_hand(), text), split(by_regex(), text)) << "U+" << std::hex << uint32_t{c};
  }
}

TEST(DeepSeekSplitter, AgreesWithPcre2OnRandomText) {
  std::mt19937 random(20260801);
  for (int round = 0; round < 20000; ++round) {
    const std::string text = testing::random_text(random, 1 + random() % 12);
    if (!both_know(std::string_view(text))) continue;
    ASSERT_EQ(split(by_hand(), text), split(by_regex(), text)) << ::testing::PrintToString(text);
  }
}

TEST(DeepSeekSplitter, AgreesWithPcre2OnRandomBytes) {
  std::mt19937 random(20260802);
  for (int round = 0; round < 20000; ++round) {
    const std::string text = testing::random_bytes(random, 1 + random() % 12);
    if (!both_know(std::string_view(text))) continue;
    const Pieces pieces = split(by_hand(), text);
    std::string joined;
    for (const std::string& piece : pieces) {
      ASSERT_FALSE(piece.empty());
      joined += piece;
    }
    ASSERT_EQ(joined, text);
    ASSERT_EQ(pieces, split(by_regex(), text)) << ::testing::PrintToString(text);
  }
}

TEST(PreTokenizer, SplitsByOtherExpressionsInTurn) {
  const PreTokenizer spaces({{" ", true}, {"[0-9]"}}, "test");
  EXPECT_EQ(split(spaces, "ab 1c2 "), (Pieces{"ab", " ", "1", "c", "2", " "}));
  EXPECT_EQ(split(PreTokenizer({}, "test"), "a b"), (Pieces{"a b"}));
  EXPECT_EQ(split(PreTokenizer(gpt2_splits(), "test"), "I've  12 cats"),
            (Pieces{"I", "'ve", " ", " 12", " cats"}));
  // White space is the Unicode property: U+180E left it with Unicode 6.3.
  EXPECT_EQ(split(PreTokenizer({{"\\s"}}, "test"), "a\u00a0b\u180ec"),
            (Pieces{"a", "\u00a0", "b\u180ec"}));
}

TEST(PreTokenizer, RefusesExpressionsThatCannotSplit) {
  EXPECT_THROW(PreTokenizer({{"(unclosed"}}, "test"), LoadError);
  EXPECT_THROW(PreTokenizer({{"x*"}}, "test"), LoadError);
}

TEST(PreTokenizer, GivesUpOnAnExpressionThatIsTooCostly) {
  const PreTokenizer exponential({{"(a|aa)+$"}}, "test");
  EXPECT_THROW(split(exponential, std::string(5000, 'a') + "b"), Error);
}

TEST(PreTokenizer, ByRegexIsLinearOnLongRuns) {
  for (const char* unit : {"a", " ", "\n", "😀", "1"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += unit;
    EXPECT_EQ(split(by_regex(), text), split(by_hand(), text)) << unit;
  }
}

}  // namespace
}  // namespace lethe
