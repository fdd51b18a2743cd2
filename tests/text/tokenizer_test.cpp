#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <ctime>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/keep_freed_memory.h"
#include "text/text_testing.h"

namespace lethe {
namespace {

using Ids = std::vector<int32_t>;
using Json = nlohmann::json;

Tokenizer load_edited(const std::function<void(Json&)>& edit) {
  Json json = Json::parse(testing::tiny_tokenizer_json());
  edit(json);
  return Tokenizer::from_json(json.dump(), "edited.json");
}

/// What loading says, or "loaded".
std::string load_message(const std::function<void(Json&)>& edit) {
  try {
    load_edited(edit);
  } catch (const LoadError& error) {
    return error.what();
  }
  return "loaded";
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(Tokenizer, GivesBackAnyText) {
  std::mt19937 random(1);
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  for (int round = 0; round < 3000; ++round) {
    const std::string text = round % 2 == 0 ? testing::random_text(random, random() % 60)
                                            : testing::random_bytes(random, random() % 60);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    ASSERT_EQ(tokenizer.decode(tokenizer.encode(text, {.parse_special = true})), text);
  }
}

TEST(Tokenizer, GivesBackEveryByte) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(all)), all);
}

TEST(Tokenizer, MakesAddedTokensOnlyWhenAskedTo) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  const int32_t user = tokenizer.added_token("<｜User｜>");
  const int32_t think = tokenizer.added_token("<think>");
  EXPECT_EQ(tokenizer.encode("<｜User｜><think>", {.parse_special = true}), (Ids{user, think}));
  const std::string text = "x<｜User｜><think></think>y<｜begin▁of▁sentence｜>";
  for (const int32_t id : tokenizer.encode(text)) {
    EXPECT_FALSE(tokenizer.is_added(id)) << id << " " << tokenizer.token_bytes(id);
  }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(Tokenizer, CutsAroundAddedTokens) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  Ids expected = tokenizer.encode("the ");
  expected.push_back(tokenizer.added_token("</think>"));
  const Ids rest = tokenizer.encode("</thin the");
  expected.insert(expected.end(), rest.begin(), rest.end());
  EXPECT_EQ(tokenizer.encode("the </think></thin the", {.parse_special = true}), expected);
}

TEST(Tokenizer, TakesTheLongestAddedTokenAndTheLeftmost) {
  const Tokenizer tokenizer = load_edited([](Json& json) {
    for (const auto& [id, text] :
         {std::pair(600, "<a>"), std::pair(601, "<a>b"), std::pair(602, "b<")}) {
      json["added_tokens"].push_back({{"id", id}, {"content", text}, {"special", true}});
    }
  });
  const auto parse = [&](std::string_view text) {
    return tokenizer.encode(text, {.parse_special = true});
  };
  EXPECT_EQ(parse("<a><a>b<a>"), (Ids{600, 601, 600}));
  EXPECT_EQ(parse("b<a>"), (Ids{602, tokenizer.encode("a")[0], tokenizer.encode(">")[0]}));
}

TEST(Tokenizer, NeverMergesIntoAnAddedToken) {
  const int32_t the = testing::tiny_tokenizer().encode("the")[0];
  ASSERT_EQ(testing::tiny_tokenizer().token_bytes(the), "the");
  const Tokenizer tokenizer = load_edited([&](Json& json) {
    json["added_tokens"].push_back({{"id", the}, {"content", "the"}, {"special", false}});
  });
  EXPECT_EQ(tokenizer.encode("the", {.parse_special = true}), Ids{the});
  for (const bool ignore_merges : {false, true}) {
    const Tokenizer same = load_edited([&](Json& json) {
      json["added_tokens"].push_back({{"id", the}, {"content", "the"}, {"special", false}});
      json["model"]["ignore_merges"] = ignore_merges;
    });
    const Ids ids = same.encode("the then");
    EXPECT_EQ(std::count(ids.begin(), ids.end(), the), 0);
    EXPECT_EQ(same.decode(ids), "the then");
  }
}

TEST(Tokenizer, KnowsItsTokens) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  EXPECT_EQ(tokenizer.bos(), tokenizer.added_token("<｜begin▁of▁sentence｜>"));
  EXPECT_EQ(tokenizer.eos(), tokenizer.added_token("<｜end▁of▁sentence｜>"));
  EXPECT_EQ(tokenizer.pad(), tokenizer.added_token("<｜▁pad▁｜>"));
  EXPECT_TRUE(tokenizer.is_special(*tokenizer.bos()));
  EXPECT_FALSE(tokenizer.is_special(tokenizer.added_token("<think>")));
  EXPECT_EQ(tokenizer.find_added("<｜nonsense｜>"), std::nullopt);
  EXPECT_THROW(tokenizer.added_token("<｜nonsense｜>"), LoadError);
  EXPECT_FALSE(tokenizer.has_token(-1));
  EXPECT_FALSE(tokenizer.has_token(tokenizer.size()));
  EXPECT_TRUE(tokenizer.has_token(tokenizer.size() - 1));
  EXPECT_EQ(tokenizer.token_bytes(tokenizer.size()), "");
  EXPECT_THROW(tokenizer.decode(Ids{tokenizer.size()}), UsageError);
  EXPECT_THROW(tokenizer.decode(Ids{-1}), UsageError);
}

TEST(Tokenizer, IgnoreMergesTakesAWordThatIsAToken) {
  const auto edit = [](bool ignore) {
    return [ignore](Json& json) {
      json["model"]["vocab"]["zqz"] = 700;
      json["model"]["ignore_merges"] = ignore;
    };
  };
  EXPECT_EQ(load_edited(edit(true)).encode("zqz"), Ids{700});
  EXPECT_EQ(load_edited(edit(false)).encode("zqz").size(), 3u);
}

TEST(Tokenizer, LeavesOutBytesWithoutATokenAndCountsThem) {
  const Tokenizer tokenizer = load_edited([](Json& json) { json["model"]["vocab"].erase("Z"); });
  const std::string text = "theZthe" + std::string(100, 'Z');
  EXPECT_EQ(tokenizer.count_unencodable(text), 101U);
  EXPECT_EQ(tokenizer.count_unencodable("the"), 0U);
  const Ids the = tokenizer.encode("the");
  Ids twice = the;
  twice.insert(twice.end(), the.begin(), the.end());
  EXPECT_EQ(tokenizer.encode(text), twice);  // "the" "the": nothing merges over the gap
  EXPECT_EQ(tokenizer.encode("ZZ"), Ids{});
}

TEST(Tokenizer, ReadsMergesAsStringsAndAsPairs) {
  const Tokenizer pairs = load_edited([](Json& json) {
    for (Json& merge : json["model"]["merges"]) {
      const auto text = merge.get<std::string>();
      const size_t space = text.find(' ');
      merge = Json::array({text.substr(0, space), text.substr(space + 1)});
    }
  });
  const std::string text = "the hen in the inn, and ENGRAM";
  EXPECT_EQ(pairs.encode(text), testing::tiny_tokenizer().encode(text));
}

TEST(Tokenizer, RefusesWhatItWouldGetWrong) {
  EXPECT_EQ(load_message([](Json&) {}), "loaded");
  EXPECT_TRUE(contains(load_message([](Json& j) { j["normalizer"] = {{"type", "NFC"}}; }), "NFC"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["model"]["type"] = "Unigram"; }), "Unigram"));
  EXPECT_TRUE(contains(load_message([](Json& j) {
                         j["pre_tokenizer"] = {{"type", "Metaspace"}};
                       }),
                       "Metaspace"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["pre_tokenizer"] = nullptr; }), "ByteLevel"));
  EXPECT_TRUE(contains(
      load_message([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Removed"; }),
      "Removed"));
  EXPECT_TRUE(contains(load_message([](Json& j) {
                         j["decoder"] = {{"type", "WordPiece"}};
                       }),
                       "WordPiece"));
  EXPECT_TRUE(
      contains(load_message([](Json& j) { j["added_tokens"][0]["lstrip"] = true; }), "lstrip"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["model"]["dropout"] = 0.1; }), "dropout"));
}

TEST(Tokenizer, RefusesAVocabularyThatContradictsItself) {
  EXPECT_TRUE(contains(load_message([](Json& j) { j.erase("model"); }), "model"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["model"].erase("vocab"); }), "vocab"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["model"]["vocab"]["qq"] = 3; }), "id 3"));
  EXPECT_TRUE(contains(load_message([](Json& j) { j["model"]["vocab"]["qq"] = -1; }), "-1"));
  EXPECT_TRUE(
      contains(load_message([](Json& j) { j["model"]["vocab"]["qq"] = 1 << 30; }), "1073741824"));
  EXPECT_TRUE(contains(load_message([](Json& j) {
                         j["model"]["vocab"] = Json{{"abc", 0}};
                         j["model"]["merges"] = Json::array();
                         j["added_tokens"] = Json::array();
                       }),
                       "byte-level"));
  EXPECT_TRUE(
      contains(load_message([](Json& j) { j["model"]["merges"].push_back("q qqq"); }), "qqq"));
  EXPECT_TRUE(
      contains(load_message([](Json& j) { j["model"]["merges"].push_back("q"); }), "one space"));
  EXPECT_TRUE(contains(load_message([](Json& j) {
                         j["added_tokens"].push_back({{"id", 70}, {"content", "zz"}});
                       }),
                       "id 70"));
  EXPECT_TRUE(contains(load_message([](Json& j) {
                         j["added_tokens"].push_back({{"id", 900}, {"content", ""}});
                       }),
                       "0 bytes"));
  const int32_t a = testing::tiny_tokenizer().encode("a")[0];
  EXPECT_TRUE(contains(load_message([&](Json& j) {
                         j["added_tokens"].push_back({{"id", a}, {"content", "a"}});
                       }),
                       "byte 97"));
}

TEST(Tokenizer, RefusesWhatIsNotATokenizerFile) {
  for (const char* text : {"", "{", "[]", "null", "{}", "{\"model\": 3}", "{\"model\": {}}",
                           "{\"model\": {\"type\": \"BPE\", \"vocab\": [], \"merges\": []}}"}) {
    EXPECT_THROW(Tokenizer::from_json(text, "test"), LoadError) << text;
  }
  const std::string whole = testing::tiny_tokenizer_json();
  for (size_t size = 0; size + 2 < whole.size(); size += 211) {
    EXPECT_THROW(Tokenizer::from_json(whole.substr(0, size), "cut"), LoadError) << size;
  }
  EXPECT_THROW(Tokenizer::from_json(whole + "x", "longer"), LoadError);
  EXPECT_THROW(Tokenizer::load("/nonexistent/tokenizer.json"), LoadError);
}

TEST(Tokenizer, MayBeUsedByManyThreadsAtOnce) {
  const Tokenizer& tokenizer = testing::tiny_tokenizer();
  std::mt19937 random(5);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int i = 0; i < 50; ++i) {
    texts.push_back(testing::random_text(random, 200));
    expected.push_back(tokenizer.encode(texts.back()));
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (int& count : wrong) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) count += tokenizer.encode(texts[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

GgufTokenizer tiny_gguf(const std::vector<std::string>& texts,
                        const std::vector<std::string>& merges, const Json& json) {
  GgufTokenizer gguf;
  gguf.name = "tiny.gguf";
  gguf.model = "gpt2";
  gguf.pre = "joyai-llm";
  gguf.tokens.assign(texts.begin(), texts.end());
  gguf.token_types.assign(texts.size(), 1);
  for (const Json& added : json["added_tokens"]) {
    gguf.token_types[added["id"].get<size_t>()] = added["special"] ? 3 : 4;
  }
  gguf.merges.assign(merges.begin(), merges.end());
  gguf.bos_token_id = 0;
  gguf.eos_token_id = 1;
  return gguf;
}

class GgufTokenizerTest : public ::testing::Test {
 protected:
  GgufTokenizerTest() : json_(Json::parse(testing::tiny_tokenizer_json())) {
    texts_.resize(static_cast<size_t>(testing::tiny_tokenizer().size()));
    for (const auto& [text, id] : json_["model"]["vocab"].items()) texts_[id.get<size_t>()] = text;
    for (const Json& added : json_["added_tokens"]) {
      texts_[added["id"].get<size_t>()] = added["content"];
    }
    for (const Json& merge : json_["model"]["merges"]) merges_.push_back(merge);
    gguf_ = tiny_gguf(texts_, merges_, json_);
  }
  Json json_;
  std::vector<std::string> texts_;
  std::vector<std::string> merges_;
  GgufTokenizer gguf_;
};

TEST_F(GgufTokenizerTest, IsTheSameAsTheJson) {
  const Tokenizer tokenizer = Tokenizer::from_gguf(gguf_);
  std::mt19937 random(9);
  for (int round = 0; round < 300; ++round) {
    const std::string text = "<think>the hen</think>" + testing::random_text(random, 30);
    for (const bool special : {false, true}) {
      ASSERT_EQ(tokenizer.encode(text, {.parse_special = special}),
                testing::tiny_tokenizer().encode(text, {.parse_special = special}));
    }
  }
  EXPECT_EQ(tokenizer.bos(), 0);
  EXPECT_EQ(tokenizer.eos(), 1);
  EXPECT_EQ(tokenizer.pad(), testing::tiny_tokenizer().pad());  // by its text
  EXPECT_FALSE(tokenizer.is_special(tokenizer.added_token("<think>")));
}

TEST_F(GgufTokenizerTest, AllowsUnusedTokensOfOneText) {
  gguf_.tokens.insert(gguf_.tokens.end(), 3, "[PAD]");
  gguf_.token_types.insert(gguf_.token_types.end(), 3, 5);
  EXPECT_EQ(Tokenizer::from_gguf(gguf_).size(), testing::tiny_tokenizer().size() + 3);
}

TEST_F(GgufTokenizerTest, RefusesWhatItWouldGetWrong) {
  const auto message = [](const GgufTokenizer& gguf) -> std::string {
    try {
      Tokenizer::from_gguf(gguf);
    } catch (const LoadError& error) {
      return error.what();
    }
    return "loaded";
  };
  GgufTokenizer other = gguf_;
  other.model = "llama";
  EXPECT_TRUE(contains(message(other), "llama"));
  other = gguf_;
  other.pre = "qwen2";
  EXPECT_TRUE(contains(message(other), "qwen2"));
  other = gguf_;
  other.token_types.pop_back();
  EXPECT_TRUE(contains(message(other), "token_type"));
  other = gguf_;
  other.token_types[5] = 7;
  EXPECT_TRUE(contains(message(other), "is 7"));
  other = gguf_;
  other.bos_token_id = 1 << 20;
  EXPECT_TRUE(contains(message(other), "1048576"));
}

/// Processor seconds of the quickest of three encodings: other programs must not count.
double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  std::clock_t best = std::numeric_limits<std::clock_t>::max();
  for (int round = 0; round < 3; ++round) {
    const std::clock_t start = std::clock();
    const Ids ids = tokenizer.encode(text);
    best = std::min(best, std::clock() - start);
    EXPECT_FALSE(ids.empty());
  }
  return static_cast<double>(std::max<std::clock_t>(best, 1)) / CLOCKS_PER_SEC;
}

/// A quadratic step would make the long text 100 times as slow as one of a tenth of its length.
void expect_linear(const Tokenizer& tokenizer) {
  keep_freed_memory();  // fresh pages, which only the long text needs, can cost more than encoding
  for (const std::string unit : {"a", " ", "\n", "😀", "你", "!", "7", "\xff", "the ", "ab\n \n"}) {
    std::string tenth;
    while (tenth.size() < 100'000) tenth += unit;
    std::string whole;
    for (int i = 0; i < 10; ++i) whole += tenth;
    // A machine that others use can be slow for all of one measurement; a quadratic step is,
    // always.
    double ratio = 100;
    for (int tries = 0; tries < 4 && ratio >= 50; ++tries) {
      ratio = seconds_to_encode(tokenizer, whole) / seconds_to_encode(tokenizer, tenth);
    }
    EXPECT_LT(ratio, 50) << "units of " << ::testing::PrintToString(unit);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(whole)), whole);
  }
}

TEST(Tokenizer, IsLinearInTheText) {
  expect_linear(testing::tiny_tokenizer());
}

TEST(Tokenizer, IsLinearInTheTextWithTheRealVocabulary) {
  if (testing::real_tokenizer() == nullptr) GTEST_SKIP() << testing::real_tokenizer_path();
  expect_linear(*testing::real_tokenizer());
}

}  // namespace
}  // namespace lethe
