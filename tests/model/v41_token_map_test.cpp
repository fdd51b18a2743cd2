#include <gtest/gtest.h>

#include "base/error.h"
#include "model/v41/engram_token_map.h"
#include "model/v41/tokenizer_json.h"

namespace lethe::model::v41 {
namespace {

std::vector<int32_t> compress(const std::vector<std::string>& tokens) {
  return build_engram_token_map(tokens).compressed;
}

TEST(EngramNormalize, FollowsTheReleasedOrderOfSteps) {
  EXPECT_EQ(engram_normalize(" The"), "the");
  EXPECT_EQ(engram_normalize("\xEF\xAC\x81"), "fi");              // ligature
  EXPECT_EQ(engram_normalize("\xEF\xBC\xA1\xEF\xBC\xA2"), "ab");  // full width
  EXPECT_EQ(engram_normalize("\xE2\x91\xA0"), "1");               // circled 1
  EXPECT_EQ(engram_normalize("\xC2\xBD"),
            "1\xE2\x81\x84"
            "2");                                                           // one half
  EXPECT_EQ(engram_normalize("\xC3\x89t\xC3\xA9"), "ete");                  // accents
  EXPECT_EQ(engram_normalize("\xE0\xA4\x95\xE0\xA4\xBE"), "\xE0\xA4\x95");  // vowel sign (Mc)
  EXPECT_EQ(engram_normalize("\xC4\xB0"), "i");                             // dotted capital I
  EXPECT_EQ(engram_normalize("\xCE\x91\xCE\xA3"), "\xCE\xB1\xCF\x83");      // no final sigma
  EXPECT_EQ(engram_normalize("a \t\r\nb"), "a b");
}

TEST(EngramNormalize, WhiteSpace) {
  for (const char* one_space : {" ", "\n", "\t", "  ", "\r\n", "\xC2\xA0", "\xEE\x80\x80"}) {
    EXPECT_EQ(engram_normalize(one_space), " ") << one_space;
  }
  EXPECT_EQ(engram_normalize("\xC2\x85"), "");        // next line: stripped
  EXPECT_EQ(engram_normalize("\xE3\x80\x80x"), "x");  // ideographic space
  EXPECT_EQ(engram_normalize("\x1C"
                             "a"),
            "\x1C"
            "a");  // Python would strip it
  EXPECT_EQ(engram_normalize("\xE2\x80\x8B"
                             "a"),
            "\xE2\x80\x8B"
            "a");  // zero width: not a space
}

TEST(EngramTokenMap, NumbersKeysByFirstAppearance) {
  // In the byte alphabet U+0120 is a space and U+010A a line feed.
  EXPECT_EQ(compress({"The", "the", "\xC4\xA0the", "cat", "THE", "\xC4\xA0", "\xC4\x8A"}),
            (std::vector<int32_t>{0, 0, 0, 1, 0, 2, 2}));
}

TEST(EngramTokenMap, PartialUtf8IsKeyedByItsOwnString) {
  // U+00E2 alone is byte 0xE2, the start of a three-byte sequence; so is "U+00E2 a".
  const auto map = compress({"\xC3\xA2",
                             "\xC3\xA2"
                             "a",
                             "\xC3\xA2"
                             "A",
                             "\xC3\xA2"});
  EXPECT_EQ(map, (std::vector<int32_t>{0, 1, 2, 0}));
}

TEST(EngramTokenMap, WhatNormalizesToNothingIsKeyedByItsText) {
  // Bytes 0xCC 0x81 spell a combining acute accent: U+00CC and U+0123 in the byte alphabet.
  const std::string accent = "\xC3\x8C\xC4\xA3";
  EXPECT_EQ(compress({accent, "a", accent + "a"}), (std::vector<int32_t>{0, 1, 1}));
}

TEST(EngramTokenMap, AddedTokensOutsideTheAlphabetStandForThemselves) {
  const std::string bar = "<\xEF\xBD\x9CUser\xEF\xBD\x9C>";  // full-width bars
  const auto map = build_engram_token_map(std::vector<std::string>{bar, "<|user|>", "two words"});
  EXPECT_EQ(map.compressed, (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(map.compressed_size, 2);
}

TEST(EngramTokenMap, ArbitraryBytesAreTokensToo) {
  const auto map = compress({std::string("\xFF\xFE", 2), std::string("\0", 1), "", "\xED\xA0\x80"});
  EXPECT_EQ(map, (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(EngramTokenMap, SizeMismatchNamesBothNumbers) {
  const auto map = build_engram_token_map(std::vector<std::string>{"a", "b", "A"});
  EXPECT_NO_THROW(check_engram_token_map(map, 2, "tokenizer.json"));
  try {
    check_engram_token_map(map, 99092, "dir/tokenizer.json");
    FAIL() << "accepted";
  } catch (const LoadError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("dir/tokenizer.json"), std::string::npos) << what;
    EXPECT_NE(what.find("compress to 2 "), std::string::npos) << what;
    EXPECT_NE(what.find("99092"), std::string::npos) << what;
  }
}

TEST(TokenizerJson, OrdersByIdAndAddsTheAddedTokens) {
  const auto tokens = parse_tokenizer_json_tokens(
      R"({"added_tokens":[{"id":0,"content":"<s>","special":true},{"content":"x\u00e9","id":3}],
          "model":{"type":"BPE","vocab":{"b":2,"<s>":0,"a\"":1},"merges":["a b"]}})",
      "t.json");
  EXPECT_EQ(tokens, (std::vector<std::string>{"<s>", "a\"", "b", "x\xC3\xA9"}));
}

TEST(TokenizerJson, RefusesWhatItCannotUse) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "cannot"},
      {"[]", "can be read"},
      {"{}", "no object \"model\""},
      {R"({"model":{"vocab":{"a":0,"b":2}}})", "gap"},
      {R"({"model":{"vocab":{"a":0,"b":0}}})", "\"a\" and to \"b\""},
      {R"({"model":{"vocab":{"a":-1}}})", "non-negative"},
      {R"({"model":{"vocab":{"a":1e3}}})", "non-negative"},
      {R"({"model":{"vocab":{"a":99999999999999999999}}})", "non-negative"},
      {R"({"model":{"vocab":{"a":0}},"added_tokens":[{"id":1}]})", "no \"content\""},
      {R"({"model":{"vocab":{"a":0}},"added_tokens":[7]})", "can be read"},
      {R"({"model":{"vocab":{"a":0)", "can be read"},
  };
  for (const auto& [json, message] : cases) {
    try {
      parse_tokenizer_json_tokens(json, "dir/tokenizer.json");
      ADD_FAILURE() << "accepted: " << json;
    } catch (const LoadError& error) {
      EXPECT_NE(std::string(error.what()).find("dir/tokenizer.json"), std::string::npos);
      if (!json.empty()) {
        EXPECT_NE(std::string(error.what()).find(message), std::string::npos) << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace lethe::model::v41
