#include "cache/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>

#include "fake_model.h"

namespace lethe::testing {
namespace {

using cache::PrefixCache;
using cache::TokenList;

constexpr int64_t kPlenty = int64_t{1} << 40;

class PrefixCacheTest : public ::testing::Test {
 protected:
  static std::vector<int32_t> ids(int count, int first = 1) {
    std::vector<int32_t> tokens(static_cast<size_t>(count));
    std::iota(tokens.begin(), tokens.end(), first);
    return tokens;
  }
  static std::vector<int32_t> joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }
  model::SequenceState state_after(const std::vector<int32_t>& tokens) {
    model::SequenceState state = model_.new_state();
    const model::SequenceChunk chunk{&state, tokens, model::LogitRows::None};
    model_.forward({&chunk, 1});
    return state;
  }
  /// Keeps the states after the first `counts` tokens.
  void keep(PrefixCache& cache, const std::vector<int32_t>& tokens,
            std::initializer_list<int> counts, const char* scope = "") {
    const auto list = std::make_shared<const std::vector<int32_t>>(tokens);
    for (const int count : counts) {
      cache.insert(scope, list, state_after({tokens.begin(), tokens.begin() + count}));
    }
  }
  /// Tokens that a prompt finds; also checks that the state holds just those.
  int64_t found(PrefixCache& cache, const std::vector<int32_t>& prompt, const char* scope = "") {
    auto hit = cache.find(scope, prompt, static_cast<int64_t>(prompt.size()) - 1);
    EXPECT_EQ(hit.state.has_value(), hit.tokens > 0);
    if (hit.state) {
      const std::vector<int32_t> known(prompt.begin(), prompt.begin() + hit.tokens);
      EXPECT_EQ(FakeModel::tokens_of(*hit.state), known);
    }
    EXPECT_GE(hit.common_tokens, hit.tokens);
    return hit.tokens;
  }

  FakeModel model_{500};
  PrefixCache cache_{model_.new_state().layout(), kPlenty};
};

TEST_F(PrefixCacheTest, FindsTheFurthestStateInsideThePrompt) {
  EXPECT_EQ(found(cache_, ids(10)), 0);
  keep(cache_, ids(40), {10, 20, 40});
  EXPECT_EQ(found(cache_, joined(ids(40), {9, 9})), 40);
  EXPECT_EQ(found(cache_, joined(ids(22), ids(30, 200))), 20);
  EXPECT_EQ(found(cache_, joined(ids(30), ids(30, 200))), 30);  // 40, ten tokens taken back
  EXPECT_EQ(found(cache_, ids(30, 200)), 0);
}

TEST_F(PrefixCacheTest, ThePromptItselfLeavesOneTokenToCompute) {
  keep(cache_, ids(40), {40});
  EXPECT_EQ(found(cache_, ids(40)), 39);
}

TEST_F(PrefixCacheTest, SaysHowMuchPromptsHaveInCommon) {
  keep(cache_, ids(400), {400});
  const auto prompt = joined(ids(100), ids(30, 450));
  const auto hit = cache_.find("", prompt, 129);
  EXPECT_FALSE(hit.state);
  EXPECT_EQ(hit.common_tokens, 100);
}

TEST_F(PrefixCacheTest, ScopesAreApart) {
  keep(cache_, ids(40), {40}, "alice");
  EXPECT_EQ(found(cache_, joined(ids(40), {9}), "bob"), 0);
  EXPECT_EQ(found(cache_, joined(ids(40), {9}), "alice"), 40);
}

TEST_F(PrefixCacheTest, AGrowingConversationSharesItsPages) {
  keep(cache_, ids(100), {100});
  const int64_t one = cache_.size_bytes();
  keep(cache_, ids(200), {150, 200});
  keep(cache_, ids(300), {300});
  EXPECT_EQ(cache_.num_states(), 4);
  const auto layout = model_.new_state().layout();
  EXPECT_EQ(cache_.size_bytes(),
            layout.bytes_at(300) + 3 * layout.rolling_bytes() + 300 * int64_t{sizeof(int32_t)});
  EXPECT_LT(cache_.size_bytes(), 5 * one);
  EXPECT_EQ(found(cache_, joined(ids(150), {7, 7})), 150);
  EXPECT_EQ(found(cache_, joined(ids(300), {7, 7})), 300);
}

TEST_F(PrefixCacheTest, AStateOfTheSamePlaceIsKeptOnce) {
  keep(cache_, ids(100), {50, 100});
  keep(cache_, ids(100), {50, 100, 50});
  EXPECT_EQ(cache_.num_states(), 2);
}

TEST_F(PrefixCacheTest, TheLeastRecentlyUsedGoesFirst) {
  keep(cache_, ids(50, 1), {50});
  keep(cache_, ids(50, 100), {50});
  keep(cache_, ids(50, 200), {50});
  EXPECT_EQ(found(cache_, joined(ids(50, 1), {9})), 50);
  cache_.set_budget(cache_.size_bytes() - 1);
  EXPECT_EQ(cache_.num_states(), 2);
  EXPECT_EQ(found(cache_, joined(ids(50, 100), {9})), 0);
  EXPECT_EQ(found(cache_, joined(ids(50, 1), {9})), 50);
  EXPECT_EQ(found(cache_, joined(ids(50, 200), {9})), 50);
  cache_.set_budget(0);
  EXPECT_EQ(cache_.size_bytes(), 0);
  keep(cache_, ids(50), {50});
  EXPECT_EQ(cache_.num_states(), 0);
}

TEST_F(PrefixCacheTest, UsingAHitLeavesTheCacheAsItIs) {
  keep(cache_, ids(40), {40});
  auto hit = cache_.find("", joined(ids(40), {1, 2}), 41);
  const std::vector<int32_t> more = {3, 4, 5};
  const model::SequenceChunk chunk{&*hit.state, more, model::LogitRows::None};
  model_.forward({&chunk, 1});
  EXPECT_EQ(found(cache_, joined(ids(40), {9})), 40);
}

}  // namespace
}  // namespace lethe::testing
