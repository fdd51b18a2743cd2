// What the built-in model can do, on samples of the exams of bench/mini: the thresholds stand a
// little below what the bench measures (docs/mini.md). Without the trained model there is nothing
// to ask: skipped.
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "mini/engram_eraser.h"
#include "mini/exam_papers.h"
#include "mini/examinee.h"
#include "mini/exams.h"
#include "mini/text_loss.h"
#include "temporary_directory.h"

namespace lethe::mini {
namespace {

/// One model for all tests of the program.
class MiniBehaviour : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!std::filesystem::exists(std::string(LETHE_MINI_MODEL) + "/config.json")) return;
    papers_ = std::make_unique<ExamPapers>(ExamPapers::load(LETHE_MINI_PAPERS));
    model_ =
        std::make_unique<serve::ServedModel>(serve::ServedModelOptions{.path = LETHE_MINI_MODEL});
    examinee_ = std::make_unique<Examinee>(*model_);
  }
  static void TearDownTestSuite() {
    examinee_.reset();
    model_.reset();
    papers_.reset();
  }

  void SetUp() override {
    if (!model_) GTEST_SKIP() << LETHE_MINI_MODEL << " holds no trained model";
  }

  static void expect_share(const Score& score, double least) {
    EXPECT_GE(score.share(), least)
        << score.right << " of " << score.asked << " right; " << score.first_fault;
    RecordProperty("percent", static_cast<int>(100 * score.share()));
  }

  static const ExamPapers& papers() { return *papers_; }
  static Examinee& examinee() { return *examinee_; }
  static serve::ServedModel& model() { return *model_; }

 private:
  static inline std::unique_ptr<ExamPapers> papers_;
  static inline std::unique_ptr<serve::ServedModel> model_;
  static inline std::unique_ptr<Examinee> examinee_;
};

TEST_F(MiniBehaviour, KnowsEveryTokenOfThePromptFormat) {
  EXPECT_TRUE(model().missing_tokens().empty());
  EXPECT_TRUE(model().can_think());
}

TEST_F(MiniBehaviour, RecallsDefinitions) {
  expect_share(examine_definitions(examinee(), papers(), {.limit = 60}), 0.95);
}

TEST_F(MiniBehaviour, RecallsDefinitionsWhileThinking) {
  expect_share(examine_definitions(examinee(), papers(), {.limit = 30, .thinking = true}), 0.95);
}

TEST_F(MiniBehaviour, FindsFactsInItsContext) {
  expect_share(examine_lookup(examinee(), papers(), 1000, LookupValues::numbers, {.limit = 20}),
               0.9);
}

TEST_F(MiniBehaviour, FindsFactsAtTheTrainedLength) {
  for (const LookupValues values : {LookupValues::numbers, LookupValues::words}) {
    expect_share(examine_lookup(examinee(), papers(), 1800, values, {.limit = 20}), 0.9);
  }
}

TEST_F(MiniBehaviour, FindsWordsFarBeyondTheTrainedLength) {
  expect_share(examine_lookup(examinee(), papers(), 16384, LookupValues::words, {.limit = 10}),
               0.9);
}

TEST_F(MiniBehaviour, RemembersWhatTheUserSaid) {
  expect_share(examine_memory(examinee(), papers(), {.limit = 40}), 0.95);
}

TEST_F(MiniBehaviour, CallsToolsItHasNotSeen) {
  const ToolScores scores = examine_tools(examinee(), papers(), {.limit = 40});
  expect_share(scores.valid_snake_case, 0.95);
  expect_share(scores.valid, 0.95);
  expect_share(scores.right, 0.9);
}

TEST_F(MiniBehaviour, CallsToolsAfterThinking) {
  const ToolScores scores = examine_tools(examinee(), papers(), {.limit = 20, .thinking = true});
  expect_share(scores.valid_snake_case, 0.9);
  expect_share(scores.valid, 0.9);
}

TEST_F(MiniBehaviour, CalculatesBetterWhenItThinks) {
  const Score direct = examine_arithmetic(examinee(), 3, {.limit = 30});
  const Score thought = examine_arithmetic(examinee(), 3, {.limit = 30, .thinking = true});
  expect_share(thought, 0.9);
  EXPECT_GT(thought.right, direct.right);
}

TEST_F(MiniBehaviour, SaysWhoItIs) {
  const Answer answer = examinee().ask(question_body("Who are you?", false));
  EXPECT_NE(answer.text.find("Lethe"), std::string::npos) << answer.text;
  EXPECT_EQ(answer.finish_reason, "stop");
}

TEST_F(MiniBehaviour, LosesItsMemoryWithItsEngramTables) {
  const testing::TemporaryDirectory directory;
  copy_without_engram(LETHE_MINI_MODEL, directory.file("erased"));
  serve::ServedModel erased(serve::ServedModelOptions{.path = directory.file("erased")});
  const auto loss = [&](serve::ServedModel& model) {
    return text_loss(model, papers().held_out, 30, 2000).nats;
  };
  EXPECT_LT(loss(model()), loss(erased));
}

}  // namespace
}  // namespace lethe::mini
