#include "model/synth/vocabulary.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"

namespace lethe::synth {
namespace {

TEST(Vocabulary, HasEveryIdOnceAndMergesOfEarlierTokens) {
  for (const ModelFamily family : {ModelFamily::V4, ModelFamily::V41}) {
    for (const int64_t size : {min_vocab_size(family), int64_t{320}, int64_t{5000}}) {
      const Vocabulary v = make_vocabulary(family, size);
      ASSERT_EQ(v.size(), size);
      std::set<std::string> known(v.tokens.begin(), v.tokens.begin() + 3 + 256);
      EXPECT_EQ(known.size(), 259U);
      size_t rank = 0;
      for (int64_t id = 259; id < v.first_trailing_special; ++id, ++rank) {
        const auto& [left, right] = v.merges.at(rank);
        EXPECT_TRUE(known.contains(left) && known.contains(right)) << left << ' ' << right;
        EXPECT_EQ(v.tokens[static_cast<size_t>(id)], left + right);
        EXPECT_TRUE(known.insert(left + right).second) << left + right;
      }
      EXPECT_EQ(rank, v.merges.size());
      EXPECT_EQ(std::set<std::string>(v.tokens.begin(), v.tokens.end()).size(), v.tokens.size());
    }
  }
}

// Ids seen in published configurations: spec/encoding.md section 2, spec/deepseek-v4.1.md
// section 1.
TEST(Vocabulary, ReleasedSizeHasTheKnownIds) {
  const ModelConfig v41 = preset_config("v4.1-flash");
  const Vocabulary v = make_vocabulary(ModelFamily::V41, v41.vocab_size);
  EXPECT_EQ(v.size(), 129280);
  EXPECT_EQ(v.id_of_special("<｜User｜>"), 128803);
  EXPECT_EQ(v.id_of_special("<｜Assistant｜>"), 128804);
  EXPECT_EQ(v.id_of_special(kNoiseToken), v41.dspark.noise_token_id);
  EXPECT_EQ(v.id_of_special(kImageToken), *v41.image_token_id);
  EXPECT_EQ(make_vocabulary(ModelFamily::V4, 129280).id_of_special("<｜User｜>"), 128803);
}

TEST(Vocabulary, RefusesSizesItCannotMake) {
  EXPECT_THROW(make_vocabulary(ModelFamily::V4, min_vocab_size(ModelFamily::V4) - 1), UsageError);
  EXPECT_THROW(make_vocabulary(ModelFamily::V4, 1'000'000), UsageError);
}

TEST(Vocabulary, TokenizerJsonHoldsIt) {
  const Vocabulary v = make_vocabulary(ModelFamily::V41, 400);
  const auto json = nlohmann::json::parse(tokenizer_json(v));
  EXPECT_EQ(json["model"]["vocab"].size(), 400U);
  EXPECT_EQ(json["model"]["merges"].size(), v.merges.size());
  for (int64_t id = 0; id < v.size(); ++id) {
    EXPECT_EQ(json["model"]["vocab"][v.tokens[static_cast<size_t>(id)]], id);
  }
  for (const auto& added : json["added_tokens"]) {
    EXPECT_TRUE(v.is_special(added["id"]));
    EXPECT_EQ(added["content"], v.tokens[added["id"].get<size_t>()]);
  }
}

}  // namespace
}  // namespace lethe::synth
