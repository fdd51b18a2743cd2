#include "cache/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
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
  PrefixCache cache_{kPlenty};
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

TEST_F(PrefixCacheTest, APageIsCountedOnceHoweverManyStatesHoldIt) {
  const auto list = std::make_shared<const std::vector<int32_t>>(ids(300));
  model::SequenceState state = model_.new_state();
  std::map<const std::byte*, int64_t> pages;
  int64_t apart = 0;
  std::vector<model::SequenceState> kept;
  for (const int64_t end : {100, 150, 200, 300}) {
    const auto more = std::span(*list).subspan(static_cast<size_t>(state.position()),
                                               static_cast<size_t>(end - state.position()));
    const model::SequenceChunk chunk{&state, more, model::LogitRows::None};
    model_.forward({&chunk, 1});
    cache_.insert("", list, state);
    kept.push_back(state.fork());
    apart += state.size_bytes();
    kept.back().for_each_page([&](const std::byte* page, int64_t bytes) { pages[page] = bytes; });
  }
  int64_t together = 0;
  for (const auto& [page, bytes] : pages) together += bytes;
  EXPECT_EQ(cache_.size_bytes(), together + 300 * int64_t{sizeof(int32_t)});
  EXPECT_LT(together, apart);
  EXPECT_EQ(found(cache_, joined(ids(150), {7, 7})), 150);
  EXPECT_EQ(found(cache_, joined(ids(300), {7, 7})), 300);
  // States of the same tokens that were computed apart share nothing, and count in full.
  const int64_t before = cache_.size_bytes();
  const model::SequenceState other = state_after(ids(250));
  cache_.insert("", list, other);
  EXPECT_EQ(cache_.size_bytes(), before + other.size_bytes());
  cache_.set_budget(0);
  EXPECT_EQ(cache_.size_bytes(), 0);
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
