// V4.1: what a prompt's result does not depend on is left out without a trace in it, and no more
// than that (spec V4.1 5, "Exact prefill narrowing").
#include <tuple>

#include "base/error.h"
#include "model_fixture.h"
#include "v41_fixture.h"

namespace lethe::testing {
namespace {

using model::LogitRows;
using model::SequenceChunk;
using model::SequenceState;
using ops::Numerics;

class Narrowing : public ::testing::TestWithParam<std::tuple<std::string, Numerics>> {
 protected:
  void SetUp() override {
    directory_ = golden_set(std::get<0>(GetParam()));
    if (directory_.empty()) GTEST_SKIP() << std::get<0>(GetParam()) << " is not here";
    tokens_ = GoldenFile(directory_ / "golden.safetensors").tokens("ids.prefill");
    while (tokens_.size() < kTokens) tokens_.push_back(tokens_[tokens_.size() % 97]);
    tokens_.resize(kTokens);
    model_ = load({});
    rows_ = (**model_).narrowing_rows();
    ASSERT_GT(rows_, 0);
    ASSERT_LT(rows_ + 60, kPrompt);
  }
  std::unique_ptr<LoadedModel> load(const model::ModelOptions& options) const {
    return std::make_unique<LoadedModel>(directory_, std::get<1>(GetParam()), 2, options);
  }
  std::span<const int32_t> tokens(int64_t begin, int64_t end) const {
    return std::span(tokens_).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  /// Feeds [state.position(), end) in narrow chunks.
  void feed_narrow(const LoadedModel& model, SequenceState& state, int64_t end,
                   int64_t chunk = 23) const {
    while (state.position() < end) {
      const int64_t begin = state.position();
      const SequenceChunk part{&state, tokens(begin, std::min(begin + chunk, end)), LogitRows::None,
                               true};
      EXPECT_EQ(model->forward({&part, 1}).logits.rows(), 0);
    }
  }
  /// A prompt of which the first `narrow` tokens are fed so.
  ops::Matrix logits_behind(int64_t narrow, SequenceState& state) const {
    feed_narrow(*model_, state, narrow);
    return model_->logits(state, tokens(narrow, kPrompt), {17});
  }
  int64_t narrow_end() const { return kPrompt - 1 - rows_; }

  static constexpr int64_t kPrompt = 190;
  static constexpr size_t kTokens = 220;
  std::filesystem::path directory_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<LoadedModel> model_;
  int64_t rows_ = 0;
};

TEST_P(Narrowing, APromptEndsInTheLogitsOfAFullPassAndGoesOnLikeIt) {
  SequenceState full = (**model_).new_state();
  SequenceState narrowed = (**model_).new_state();
  const ops::Matrix expected = model_->logits(full, tokens(0, kPrompt));
  const ops::Matrix result = logits_behind(narrow_end(), narrowed);
  EXPECT_TRUE(same_bits(last_rows(result, 1), last_rows(expected, 1)));
  EXPECT_TRUE(narrowed.is_exact());
  EXPECT_TRUE(same_bits(model_->logits(narrowed, tokens(kPrompt, kTokens), {1}),
                        model_->logits(full, tokens(kPrompt, kTokens), {1})));
}

TEST_P(Narrowing, OneRowFewerWouldShow) {
  SequenceState full = (**model_).new_state();
  SequenceState narrowed = (**model_).new_state();
  const ops::Matrix expected = model_->logits(full, tokens(0, kPrompt));
  const ops::Matrix result = logits_behind(narrow_end() + 1, narrowed);
  EXPECT_FALSE(same_bits(last_rows(result, 1), last_rows(expected, 1)));
  EXPECT_TRUE(narrowed.is_exact());  // for what comes after the prompt
}

TEST_P(Narrowing, NarrowAndOtherSequencesShareAPass) {
  const int64_t end = narrow_end();
  SequenceState narrowed = (**model_).new_state();
  SequenceState beside = (**model_).new_state();
  SequenceState behind = (**model_).new_state();
  feed_narrow(*model_, narrowed, 40);
  const std::vector<SequenceChunk> chunks = {
      {&beside, tokens(3, 64), LogitRows::All},
      {&narrowed, tokens(40, end), LogitRows::None, true},
      {&behind, tokens(100, 131), LogitRows::Last},
  };
  const ops::Matrix together = (**model_).forward(chunks).logits;
  ASSERT_EQ(together.rows(), 61 + 1);
  EXPECT_TRUE(same_bits(first_rows(together, 61), model_->logits(tokens(3, 64))));
  EXPECT_TRUE(same_bits(last_rows(together, 1), last_rows(model_->logits(tokens(100, 131)), 1)));
  const ops::Matrix result = model_->logits(narrowed, tokens(end, kPrompt));
  EXPECT_TRUE(same_bits(last_rows(result, 1), last_rows(model_->logits(tokens(0, kPrompt)), 1)));
}

TEST_P(Narrowing, AStateWithinSaysThatItIsNotExactAndLaterOnesCanBeSaved) {
  SequenceState state = (**model_).new_state();
  feed_narrow(*model_, state, 70);
  EXPECT_FALSE(state.is_exact());
  EXPECT_EQ(state.position(), 70);
  model_->logits(state, tokens(70, 70 + rows_ + 3));
  EXPECT_TRUE(state.is_exact());
  EXPECT_TRUE(state.can_truncate(70 + rows_));
  EXPECT_FALSE(state.can_truncate(70 + rows_ - 1));

  SequenceState restored = (**model_).new_state();
  restored.restore(state.snapshot());
  const auto rest = tokens(state.position(), kTokens);
  EXPECT_TRUE(same_bits(model_->logits(restored, rest), model_->logits(state, rest)));
}

TEST_P(Narrowing, FewerRowsByOptionAreAnApproximationThatIsNotMixedWithTheExactOne) {
  const auto replay = load({.replay_rows = 16});
  ASSERT_EQ((**replay).narrowing_rows(), 16);
  SequenceState state = (**replay).new_state();
  feed_narrow(*replay, state, kPrompt - 17);
  const ops::Matrix result = replay->logits(state, tokens(kPrompt - 17, kPrompt));
  for (const float value : result.values()) ASSERT_TRUE(std::isfinite(value));
  EXPECT_TRUE(state.is_exact());  // as far as the option wants it
  SequenceState exact = (**model_).new_state();
  EXPECT_THROW(exact.restore(state.snapshot()), IoError);
}

INSTANTIATE_TEST_SUITE_P(Sets, Narrowing,
                         ::testing::Combine(::testing::ValuesIn(v41_golden_sets()),
                                            ::testing::Values(Numerics::F32, Numerics::Official,
                                                              Numerics::Fast)),
                         [](const auto& set) {
                           return test_name(std::get<0>(set.param)) + "_" +
                                  std::string(ops::numerics_name(std::get<1>(set.param)));
                         });

}  // namespace
}  // namespace lethe::testing
