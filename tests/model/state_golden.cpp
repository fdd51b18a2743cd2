// Properties that hold bit for bit in every numerics mode, on every golden checkpoint: a sequence
// that was forked, saved and restored, taken back, batched with others, or run on another number of
// threads goes on as if nothing had happened.
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "model/filled_state.h"
#include "model_fixture.h"

namespace lethe::testing {
namespace {

using ops::Numerics;

class StateProperties : public ::testing::TestWithParam<std::tuple<std::string, Numerics>> {
 protected:
  void SetUp() override {
    dir_ = golden_set(std::get<0>(GetParam()));
    if (dir_.empty()) GTEST_SKIP() << std::get<0>(GetParam()) << " is not here";
    const GoldenFile golden(dir_ / "golden.safetensors");
    tokens_ = golden.tokens(golden.has("tokens") ? "tokens" : "ids.prefill");
    tokens_.resize(kTokens);
  }

  LoadedModel load(int threads = 2) const {
    return LoadedModel(dir_, std::get<1>(GetParam()), threads);
  }
  std::span<const int32_t> tokens(size_t begin, size_t end) const {
    return std::span(tokens_).subspan(begin, end - begin);
  }

  // Crosses groups of 2, 4 and 128 tokens and wraps every window of the golden models.
  static constexpr size_t kTokens = 160;
  static constexpr size_t kCut = 133;
  std::filesystem::path dir_;
  std::vector<int32_t> tokens_;
};

TEST_P(StateProperties, AForkAndItsOriginGoOnIndependently) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, kCut));
  model::SequenceState fork = state.fork();
  std::vector<int32_t> other(tokens_.begin() + kCut, tokens_.end());
  std::reverse(other.begin(), other.end());
  const ops::Matrix reversed = model.logits(fork, other);
  const ops::Matrix original = model.logits(state, tokens(kCut, kTokens));

  model::SequenceState undisturbed = model->new_state();
  model.logits(undisturbed, tokens(0, kCut));
  EXPECT_TRUE(same_bits(original, model.logits(undisturbed, tokens(kCut, kTokens))));
  model::SequenceState alone = model->new_state();
  model.logits(alone, tokens(0, kCut));
  EXPECT_TRUE(same_bits(reversed, model.logits(alone, other)));
}

TEST_P(StateProperties, RestoredFromBytesGoesOnAsIfNeverStopped) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, kCut));
  const std::vector<std::byte> saved = state.snapshot();
  const ops::Matrix expected = model.logits(state, tokens(kCut, kTokens), {3, 1, 9});

  const LoadedModel elsewhere = load();
  model::SequenceState restored = elsewhere->new_state();
  restored.restore(saved);
  EXPECT_EQ(restored.position(), static_cast<int64_t>(kCut));
  EXPECT_TRUE(same_bits(elsewhere.logits(restored, tokens(kCut, kTokens), {3, 1, 9}), expected));
  EXPECT_EQ(restored.snapshot(), state.snapshot());
}

TEST_P(StateProperties, TakenBackTokensLeaveNoTrace) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, kCut));
  const ops::Matrix expected = model.logits(state, tokens(kCut, kTokens));
  for (const int64_t back : {1, 2, 3, 5, 7, 16}) {
    model::SequenceState tried = model->new_state();
    model.logits(tried, tokens(0, kCut));
    std::vector<int32_t> rejected(static_cast<size_t>(back));
    for (size_t i = 0; i < rejected.size(); ++i) rejected[i] = tokens_[i * 3 + 1];
    model.logits(tried, rejected);
    tried.truncate(static_cast<int64_t>(kCut));
    EXPECT_TRUE(same_bits(model.logits(tried, tokens(kCut, kTokens)), expected)) << back;
  }
}

TEST_P(StateProperties, TakingBackTooMuchIsRefusedAndChangesNothing) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, kCut));
  const std::vector<std::byte> before = state.snapshot();
  EXPECT_THROW(state.truncate(static_cast<int64_t>(kCut) - state.layout().rollback_tokens - 1),
               Error);
  EXPECT_EQ(state.snapshot(), before);
  state.truncate(0);
  EXPECT_TRUE(same_bits(model.logits(state, tokens(0, 20)), model.logits(tokens(0, 20))));
}

TEST_P(StateProperties, TakingBackAgainAndAgainIsRefusedOnceRowsAreGone) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, kTokens));
  EXPECT_FALSE(state.can_truncate(static_cast<int64_t>(kTokens) + 1));
  int64_t position = static_cast<int64_t>(kTokens);
  while (state.can_truncate(position - 5)) {
    position -= 5;
    state.truncate(position);
  }
  EXPECT_GE(position, static_cast<int64_t>(kTokens) - state.layout().rollback_tokens);
  EXPECT_THROW(state.truncate(position - 5), Error);
  const auto begin = static_cast<size_t>(position);
  EXPECT_TRUE(same_bits(model.logits(state, tokens(begin, kTokens)),
                        last_rows(model.logits(tokens(0, kTokens)), kTokens - begin)));
}

TEST_P(StateProperties, SizeIsForeseen) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  const model::StateLayout& layout = state.layout();
  for (size_t begin = 0; begin < kTokens; begin += 20) {
    model.logits(state, tokens(begin, begin + 20));
    const int64_t foreseen = layout.bytes_at(static_cast<int64_t>(begin) + 20);
    EXPECT_LE(state.size_bytes(), foreseen);
    EXPECT_GE(state.size_bytes() * 4, foreseen);  // whole pages weigh most in tiny states
  }
  // Far out, growth is what the entries themselves take.
  const auto entry_bytes = static_cast<double>(layout.bytes_at(2'000'000) - layout.bytes_at(0));
  double rows = 0;
  for (const auto& layer : layout.layers) {
    if (layer.ratio == 0) continue;
    rows += static_cast<double>(layer.compressed_row_bytes + layer.index_row_bytes) * 2e6 /
            static_cast<double>(layer.ratio);
  }
  EXPECT_NEAR(entry_bytes / rows, 1, 0.01);
  EXPECT_GE(layout.bytes_at(0), layout.rolling_bytes());
}

TEST_P(StateProperties, AFilledStateHasTheRowsOfItsLength) {
  const LoadedModel model = load();
  for (const int64_t position : {300, 1000}) {
    model::SequenceState state = model->new_state();
    model.logits(state, tokens(0, kTokens - 4));
    model::fill_state(state, position);
    EXPECT_EQ(state.position(), position);
    model::SequenceState copy = model->new_state();
    copy.restore(state.snapshot());  // refuses a state whose rows do not fit its position
    const ops::Matrix logits = model.logits(state, tokens(0, 3));
    for (const float logit : logits.values()) ASSERT_TRUE(std::isfinite(logit));
    EXPECT_LE(state.size_bytes(), state.layout().bytes_at(position + 3));
  }
}

TEST_P(StateProperties, DamagedBytesAreRefused) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, 40));
  const std::vector<std::byte> saved = state.snapshot();
  model::SequenceState other = model->new_state();
  for (const size_t size : {size_t{0}, size_t{7}, size_t{24}, saved.size() / 2, saved.size() - 1}) {
    EXPECT_THROW(other.restore(std::span(saved).first(size)), IoError) << size;
  }
  std::vector<std::byte> longer = saved;
  longer.push_back(std::byte{0});
  EXPECT_THROW(other.restore(longer), IoError);
  std::vector<std::byte> foreign = saved;
  foreign[9] ^= std::byte{1};  // the fingerprint
  EXPECT_THROW(other.restore(foreign), IoError);
  EXPECT_EQ(other.position(), 0);
}

TEST_P(StateProperties, ABatchEqualsItsSequencesAlone) {
  const LoadedModel model = load();
  const std::vector<std::pair<size_t, size_t>> parts = {{0, 37}, {5, 6}, {20, 100}, {90, 131}};
  std::vector<model::SequenceState> states(parts.size(), model->new_state());
  std::vector<model::SequenceChunk> chunks;
  for (size_t i = 0; i < parts.size(); ++i) {
    chunks.push_back({&states[i], tokens(parts[i].first, parts[i].second)});
  }
  const ops::Matrix together = model->forward(chunks).logits;
  int64_t row = 0;
  for (const auto& [begin, end] : parts) {
    const ops::Matrix alone = model.logits(tokens(begin, end));
    for (int64_t r = 0; r < alone.rows(); ++r, ++row) {
      ASSERT_TRUE(std::equal(alone.row(r).begin(), alone.row(r).end(), together.row(row).begin()))
          << "sequence from " << begin << ", row " << r;
    }
  }
}

TEST_P(StateProperties, ThreadsDoNotChangeResults) {
  const ops::Matrix one = load(1).logits(tokens(0, 140), {96, 1, 1, 30, 12});
  for (const int threads : {2, 3, 7}) {
    EXPECT_TRUE(same_bits(load(threads).logits(tokens(0, 140), {96, 1, 1, 30, 12}), one))
        << threads;
  }
}

TEST_P(StateProperties, BadTokensAndTooLongInputsAreRefusedAndChangeNothing) {
  const LoadedModel model = load();
  model::SequenceState state = model->new_state();
  model.logits(state, tokens(0, 30));
  const std::vector<std::byte> before = state.snapshot();
  const std::vector<int32_t> outside = {1, static_cast<int32_t>(model->config().vocab_size)};
  EXPECT_THROW(model.logits(state, outside), Error);
  const std::vector<int32_t> negative = {-1};
  EXPECT_THROW(model.logits(state, negative), Error);
  const model::SequenceChunk empty{&state, {}};
  EXPECT_THROW(model->forward({&empty, 1}), Error);
  EXPECT_EQ(state.snapshot(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Sets, StateProperties,
    ::testing::Combine(::testing::ValuesIn(golden_sets("v4", "golden.safetensors",
                                                       {"v4-tiny-a", "v4-tiny-b", "v41-tiny-a"})),
                       ::testing::Values(Numerics::F32, Numerics::F32Served, Numerics::Official,
                                         Numerics::Fast)),
    [](const auto& set) {
      return test_name(std::get<0>(set.param)) + "_" +
             test_name(std::string(ops::numerics_name(std::get<1>(set.param))));
    });

}  // namespace
}  // namespace lethe::testing
