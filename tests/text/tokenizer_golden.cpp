#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "text/detokenizer.h"
#include "text/text_testing.h"

namespace lethe {
namespace {

using Ids = std::vector<int32_t>;

/// golden/tokenizer: ids of 231 texts by an independent implementation.
TEST(TokenizerGolden, EncodesAsTheReference) {
  const Tokenizer* tokenizer = testing::real_tokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << testing::real_tokenizer_path() << " is absent";
  std::ifstream cases(testing::shared_golden_dir() / "tokenizer" / "cases.jsonl");
  int count = 0;
  for (std::string line; std::getline(cases, line); ++count) {
    const auto row = nlohmann::json::parse(line);
    const auto text = row["text"].get<std::string>();
    const auto ids = row["ids"].get<Ids>();
    EXPECT_EQ(tokenizer->encode(text, {.parse_special = true}), ids) << "case " << count;
    EXPECT_EQ(tokenizer->decode(ids), text) << "case " << count;
    Detokenizer detokenizer(*tokenizer);
    std::string streamed;
    for (const int32_t id : ids) streamed += detokenizer.push(id);
    EXPECT_EQ(streamed + detokenizer.finish(), text) << "case " << count;
  }
  EXPECT_GT(count, 0);
  std::printf("%d cases\n", count);
}

/// Spec encoding.md section 2: what the official API counts for a special token typed by a user.
TEST(TokenizerGolden, PlainTextOfASpecialTokenIsItsLetters) {
  const Tokenizer* tokenizer = testing::real_tokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << testing::real_tokenizer_path() << " is absent";
  EXPECT_EQ(tokenizer->encode("<｜User｜>"), (Ids{30, 28217, 6756, 28217, 32}));
  EXPECT_EQ(tokenizer->encode("<think>").size(), 3u);
  EXPECT_EQ(tokenizer->encode("<｜User｜>", {.parse_special = true}), Ids{128803});
}

TEST(TokenizerGolden, RealVocabularyHasItsSizeAndGivesBackEveryToken) {
  const Tokenizer* tokenizer = testing::real_tokenizer();
  if (tokenizer == nullptr) GTEST_SKIP() << testing::real_tokenizer_path() << " is absent";
  EXPECT_EQ(tokenizer->size(), 128815);
  int same = 0;
  for (int32_t id = 0; id < tokenizer->size(); ++id) {
    ASSERT_TRUE(tokenizer->has_token(id));
    const std::string text(tokenizer->token_bytes(id));
    const Ids ids = tokenizer->encode(text, {.parse_special = true});
    ASSERT_EQ(tokenizer->decode(ids), text);
    same += ids == Ids{id} ? 1 : 0;
  }
  // All but those that the splits or invalid UTF-8 cut apart.
  EXPECT_GT(same, 120'000);
}

}  // namespace
}  // namespace lethe
