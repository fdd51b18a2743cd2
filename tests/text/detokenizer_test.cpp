#include "text/detokenizer.h"

#include <gtest/gtest.h>

#include "text/code_point.h"
#include "text/text_testing.h"

namespace lethe {
namespace {

bool is_well_formed(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    if (c.kind != CodePoint::Kind::Valid) return false;
    at += c.length;
  }
  return true;
}

std::string whole(std::string_view bytes) {
  Utf8Stream stream;
  std::string out = stream.push(bytes);
  return out + stream.finish();
}

TEST(Utf8Stream, ReplacesWhatCannotBeUtf8) {
  EXPECT_EQ(whole(""), "");
  EXPECT_EQ(whole("aé你😀"), "aé你😀");
  EXPECT_EQ(whole("a\xff\xfe!"), "a\uFFFD\uFFFD!");
  EXPECT_EQ(whole("\xe4\xbd"), "\uFFFD");                  // begins a character, never completed
  EXPECT_EQ(whole("\xe4\xbdz"), "\uFFFDz");                // one maximal subpart
  EXPECT_EQ(whole("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate
  EXPECT_EQ(whole("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(whole("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // past U+10FFFF
}

TEST(Utf8Stream, WaitsForTheEndOfACharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("\xf0\x9f"), "");
  EXPECT_EQ(stream.pending(), 2u);
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80z\xe4"), "😀z");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.pending(), 0u);
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, AnyChunkingGivesTheWhole) {
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    const std::string text = testing::random_bytes(random, random() % 40);
    Utf8Stream stream;
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const size_t size = std::min<size_t>(random() % 4, text.size() - at);
      const std::string part = stream.push(std::string_view(text).substr(at, size));
      ASSERT_TRUE(is_well_formed(part));
      out += part;
      at += size;
    }
    out += stream.finish();
    ASSERT_EQ(out, whole(text)) << ::testing::PrintToString(text);
  }
}

TEST(Detokenizer, EqualsTheWholeAndNeverEmitsHalfACharacter) {
  std::mt19937 random(4);
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  for (int round = 0; round < 2000; ++round) {
    const std::string text = testing::random_text(random, random() % 40);
    Detokenizer detokenizer(tokenizer);
    std::string out;
    for (const int32_t id : tokenizer.encode(text)) {
      const std::string part = detokenizer.push(id);
      ASSERT_TRUE(is_well_formed(part));
      out += part;
    }
    ASSERT_EQ(out + detokenizer.finish(), text);
  }
}

TEST(Detokenizer, EqualsTheWholeForAnyIds) {
  std::mt19937 random(5);
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids(random() % 30);
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random() % static_cast<unsigned>(tokenizer.size()));
    Detokenizer detokenizer(tokenizer);
    std::string out;
    for (const int32_t id : ids) out += detokenizer.push(id);
    ASSERT_EQ(out + detokenizer.finish(), whole(tokenizer.decode(ids)));
  }
}

TEST(Detokenizer, ShowsAddedTokensAndMarksIdsWithoutAToken) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.push(tokenizer.added_token("</think>")), "</think>");
  EXPECT_EQ(detokenizer.push(tokenizer.size() + 5), "\uFFFD");
  EXPECT_EQ(detokenizer.push(-1), "\uFFFD");
}

}  // namespace
}  // namespace lethe
