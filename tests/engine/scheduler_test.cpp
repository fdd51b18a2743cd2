#include "engine/scheduler.h"

#include <gmock/gmock.h>

#include <numeric>

#include "engine/check_request.h"
#include "engine_testing.h"
#include "fake_model.h"

namespace lethe::testing {
namespace {

using engine::EngineOptions;
using engine::Request;
using engine::Scheduler;
using engine::Sequence;
using engine::StopReason;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Le;

std::vector<int32_t> ids(int count, int first = 1) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  for (int32_t& token : tokens) token %= 50;
  return tokens;
}

EngineOptions small_options() {
  return {.prefill_chunk = 16,
          .shared_prefill_chunk = 8,
          .max_running = 4,
          .max_waiting = 8,
          .memory_bytes = int64_t{1} << 30,
          .checkpoint_interval = 40,
          .min_shared_prefix = 8};
}

class SchedulerTest : public ::testing::Test {
 protected:
  using Sink = std::shared_ptr<CollectingSink>;

  void make(const EngineOptions& options) {
    options_ = options;
    scheduler_ = std::make_unique<Scheduler>(model_, options);
  }
  Sink add(Request request) {
    if (!scheduler_) make(small_options());
    engine::check_request(request, model_, options_);
    auto sink = std::make_shared<CollectingSink>();
    engine::Sampler sampler = engine::make_sampler(request, model_);
    scheduler_->add(
        std::make_unique<Sequence>(++last_id_, std::move(request), sink, std::move(sampler)));
    return sink;
  }
  Sink add(const std::vector<int32_t>& prompt, int64_t max_tokens) {
    return add(greedy_request(prompt, max_tokens));
  }
  void run() {
    while (scheduler_->has_work()) scheduler_->step();
  }
  size_t tokens_of_step(size_t step) const {
    return std::accumulate(model_.steps[step].begin(), model_.steps[step].end(), size_t{0});
  }

  FakeModel model_;
  EngineOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
  engine::RequestId last_id_ = 0;
};

TEST_F(SchedulerTest, OneRequestGivesTheModelsTokens) {
  const auto sink = add(ids(40), 12);
  run();
  EXPECT_EQ(sink->tokens(), model_.expected_greedy(ids(40), 12));
  const engine::Outcome outcome = sink->wait();
  EXPECT_EQ(outcome.reason, StopReason::length);
  EXPECT_EQ(outcome.usage.prompt_tokens, 40);
  EXPECT_EQ(outcome.usage.cached_tokens, 0);
  EXPECT_EQ(outcome.usage.completion_tokens, 12);
  EXPECT_THAT(sink->prefill(), ElementsAre(0, 16, 32, 40));
  EXPECT_EQ(model_.steps.size(), 3 + 11U);  // the last token is not fed
}

TEST_F(SchedulerTest, ABatchGivesWhatEachRequestGivesAlone) {
  std::vector<Sink> sinks;
  for (int i = 0; i < 9; ++i) sinks.push_back(add(ids(5 + 13 * i, i * 7), 3 + 5 * i));
  run();
  for (int i = 0; i < 9; ++i) {
    const auto count = static_cast<size_t>(3 + 5 * i);
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens(),
              model_.expected_greedy(ids(5 + 13 * i, i * 7), count));
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->num_ends(), 1);
  }
  for (const FakeModel::Step& step : model_.steps) EXPECT_LE(step.size(), 4U);
}

TEST_F(SchedulerTest, SampledTextDoesNotDependOnTheBatch) {
  const auto sampled = [&](int neighbours) {
    Request request = greedy_request(ids(20), 30);
    request.sampling.temperature = 1.5;
    request.sampling.seed = 42;
    request.use_prefix_cache = false;
    for (int i = 0; i < neighbours; ++i) add(ids(11, i * 3), 17);
    const auto sink = add(request);
    run();
    return sink->tokens();
  };
  const std::vector<int32_t> alone = sampled(0);
  EXPECT_EQ(sampled(3), alone);
  EXPECT_EQ(sampled(1), alone);
}

TEST_F(SchedulerTest, AnsweringGoesOnWhileALongPromptIsTakenIn) {
  const auto answering = add(ids(3), 100);
  scheduler_->step();
  const auto long_prompt = add(ids(900), 5);
  while (long_prompt->tokens().empty()) {
    const size_t before = answering->tokens().size();
    scheduler_->step();
    // Every step brings the running request a token, and takes in at most one small chunk.
    EXPECT_EQ(answering->tokens().size(), std::min<size_t>(before + 1, 100));
    if (!answering->ended()) {
      EXPECT_LE(tokens_of_step(model_.steps.size() - 1), 1 + 8U);
    }
  }
  run();
  EXPECT_EQ(long_prompt->tokens(), model_.expected_greedy(ids(900), 5));
}

TEST_F(SchedulerTest, AShortPromptDoesNotWaitForALongOne) {
  const auto long_prompt = add(ids(900), 5);
  const auto short_prompt = add(ids(6, 20), 2);
  scheduler_->step();
  EXPECT_EQ(short_prompt->tokens().size(), 1U);
  EXPECT_TRUE(long_prompt->tokens().empty());
  EXPECT_LE(tokens_of_step(0), 16U);
  run();
}

TEST_F(SchedulerTest, EndsByStopTokenAndBySink) {
  const std::vector<int32_t> expected = model_.expected_greedy(ids(10), 20);
  Request request = greedy_request(ids(10), 20);
  request.stop_tokens = {999, expected[4]};
  const auto first = static_cast<size_t>(std::find(expected.begin(), expected.end(), expected[4]) -
                                         expected.begin());
  const auto by_token = add(request);
  run();
  EXPECT_EQ(by_token->wait().reason, StopReason::stop_token);
  EXPECT_EQ(by_token->wait().usage.completion_tokens, static_cast<int64_t>(first) + 1);
  EXPECT_EQ(by_token->tokens().size(), first);

  const auto by_sink = add(ids(10), 20);
  by_sink->stop_when = [](const auto& tokens) { return tokens.size() == 3; };
  run();
  EXPECT_EQ(by_sink->wait().reason, StopReason::sink);
  EXPECT_EQ(by_sink->wait().usage.completion_tokens, 3);
}

TEST_F(SchedulerTest, AConversationResumesFromItsOwnEnd) {
  const auto first = add(ids(30), 10);
  run();
  std::vector<int32_t> next = ids(30);
  for (const int32_t token : first->tokens()) next.push_back(token);
  next.insert(next.end(), {1, 2, 3});
  const auto second = add(next, 6);
  run();
  EXPECT_EQ(second->tokens(), model_.expected_greedy(next, 6));
  EXPECT_EQ(second->wait().usage.cached_tokens, 39);  // the last sampled token was never fed
  // Another question after the same prompt resumes from the prompt's end.
  std::vector<int32_t> other = ids(30);
  other.insert(other.end(), {9, 9});
  const auto third = add(other, 6);
  run();
  EXPECT_EQ(third->tokens(), model_.expected_greedy(other, 6));
  EXPECT_EQ(third->wait().usage.cached_tokens, 30);
}

TEST_F(SchedulerTest, ASharedBeginningIsKeptOnceItIsNoticed) {
  const auto prompt_with = [](int last) {
    std::vector<int32_t> prompt = ids(20);
    for (int i = 0; i < 30; ++i) prompt.push_back((last * 7 + i * last) % 50);
    return prompt;
  };
  std::vector<int64_t> cached;
  for (const int last : {3, 5, 11}) {
    const auto sink = add(prompt_with(last), 2);
    run();
    EXPECT_EQ(sink->tokens(), model_.expected_greedy(prompt_with(last), 2));
    cached.push_back(sink->wait().usage.cached_tokens);
  }
  EXPECT_THAT(cached, ElementsAre(0, 0, 20));
}

TEST_F(SchedulerTest, LongPromptsLeaveStatesOnTheWay) {
  add(ids(130), 1);
  run();
  std::vector<int32_t> other = ids(100);
  other.push_back(49);
  const auto sink = add(other, 1);
  run();
  EXPECT_EQ(sink->wait().usage.cached_tokens, 80);
}

TEST_F(SchedulerTest, PromptsAreNarrowAsFarAsTheStatesThatAreKeptAllow) {
  model_.narrowing = 20;
  EngineOptions options = small_options();
  options.checkpoint_interval = 200;
  make(options);
  const auto sink = add(ids(500), 5);
  run();
  EXPECT_EQ(sink->tokens(), model_.expected_greedy(ids(500), 5));  // from exact states only
  // Before 200, 400 and the end, 20 + 16 tokens are not, nor a rest of less than 64.
  EXPECT_EQ(model_.num_narrow, 112 + 112 + 16);
  for (const int length : {200, 201, 400, 430, 500}) {
    std::vector<int32_t> other = ids(length);
    other.push_back(49);
    const auto next = add(other, 3);
    run();
    EXPECT_EQ(next->tokens(), model_.expected_greedy(other, 3)) << length;
    EXPECT_EQ(next->wait().usage.cached_tokens, length / 100 % 2 == 0 ? length / 200 * 200 : length)
        << length;
  }
}

TEST_F(SchedulerTest, AStateWithinANarrowPromptIsNotKept) {
  model_.narrowing = 20;
  EngineOptions options = small_options();
  options.checkpoint_interval = 1000;
  make(options);
  const auto sink = add(ids(500), 5);
  for (int step = 0; step < 10; ++step) scheduler_->step();
  scheduler_->cancel(1);
  EXPECT_EQ(sink->wait().reason, StopReason::cancelled);
  const auto again = add(ids(500), 5);
  run();
  EXPECT_EQ(again->wait().usage.cached_tokens, 0);
  EXPECT_EQ(again->tokens(), model_.expected_greedy(ids(500), 5));
}

TEST_F(SchedulerTest, ALargeReservationDoesNotCostAConversationItsStates) {
  EngineOptions options = small_options();
  const int64_t each = model_.new_state().layout().bytes_at(400);
  options.memory_bytes = each + each / 2;
  make(options);
  const auto first = add(ids(200), 190);
  run();
  std::vector<int32_t> next = ids(200);
  for (const int32_t token : first->tokens()) next.push_back(token);
  const auto second = add(next, 5);
  run();
  EXPECT_EQ(second->tokens(), model_.expected_greedy(next, 5));
  EXPECT_EQ(second->wait().usage.cached_tokens, 389);
  EXPECT_LE(scheduler_->stats().cache_bytes, options.memory_bytes);
}

TEST_F(SchedulerTest, CacheOffMeansOff) {
  EngineOptions options = small_options();
  options.prefix_cache = false;
  make(options);
  add(ids(30), 2);
  run();
  const auto again = add(ids(30), 2);
  run();
  EXPECT_EQ(again->wait().usage.cached_tokens, 0);
  EXPECT_EQ(scheduler_->stats().cache_bytes, 0);
}

TEST_F(SchedulerTest, MemoryIsReservedAndOthersWait) {
  EngineOptions options = small_options();
  const int64_t each = model_.new_state().layout().bytes_at(100);
  options.memory_bytes = each * 2 + each / 2;
  make(options);
  const auto first = add(ids(60), 40);
  const auto second = add(ids(60, 2), 40);
  const auto third = add(ids(60, 3), 40);
  scheduler_->step();
  EXPECT_EQ(scheduler_->stats().running, 2);
  EXPECT_EQ(scheduler_->stats().waiting, 1);
  EXPECT_EQ(scheduler_->stats().reserved_bytes, each * 2);
  while (scheduler_->has_work()) {
    scheduler_->step();
    const engine::EngineStats stats = scheduler_->stats();
    ASSERT_LE(stats.reserved_bytes + stats.cache_bytes, options.memory_bytes);
  }
  EXPECT_EQ(third->tokens(), model_.expected_greedy(ids(60, 3), 40));
  EXPECT_EQ(scheduler_->stats().reserved_bytes, 0);
  EXPECT_LE(scheduler_->stats().cache_bytes, options.memory_bytes);
  EXPECT_EQ(scheduler_->stats().finished, 3);

  Request huge = greedy_request(ids(60), 40);
  options.memory_bytes = each - 1;
  EXPECT_THROW(engine::check_request(huge, model_, options), UsageError);
}

TEST_F(SchedulerTest, CancelEndsWaitingAndRunningRequests) {
  std::vector<Sink> sinks;
  for (int i = 0; i < 6; ++i) sinks.push_back(add(ids(10, i), 50));
  scheduler_->step();
  scheduler_->cancel(2);
  scheduler_->cancel(6);
  scheduler_->cancel(77);
  EXPECT_EQ(sinks[1]->wait().reason, StopReason::cancelled);
  EXPECT_EQ(sinks[5]->wait().reason, StopReason::cancelled);
  EXPECT_EQ(scheduler_->stats().running, 3);
  run();
  for (const int i : {0, 2, 3, 4}) {
    EXPECT_EQ(sinks[static_cast<size_t>(i)]->tokens(), model_.expected_greedy(ids(10, i), 50));
  }
  EXPECT_EQ(scheduler_->stats().reserved_bytes, 0);
  // What was computed serves the next try.
  const auto again = add(ids(10, 1), 5);
  run();
  EXPECT_GT(again->wait().usage.cached_tokens, 0);
}

TEST_F(SchedulerTest, AFailedPassFailsItsRequestsAndNoOthers) {
  const auto first = add(ids(10), 50);
  scheduler_->step();
  model_.on_forward = [] { throw IoError("the disk is gone"); };
  scheduler_->step();
  EXPECT_EQ(first->wait().reason, StopReason::failed);
  EXPECT_THAT(first->wait().error, HasSubstr("the disk is gone"));
  model_.on_forward = nullptr;
  const auto second = add(ids(12), 3);
  run();
  EXPECT_EQ(second->tokens(), model_.expected_greedy(ids(12), 3));
}

TEST_F(SchedulerTest, LogitsThatAreNoNumbersFailTheRequest) {
  model_.change_logits = [](std::vector<float>& logits) { logits[3] = NAN; };
  const auto sink = add(ids(10), 5);
  run();
  EXPECT_EQ(sink->wait().reason, StopReason::failed);
  EXPECT_THAT(sink->wait().error, HasSubstr("NaN"));
}

TEST_F(SchedulerTest, TokensThatTheModelRefusesAreNeverSampled) {
  model_.refused = {7};
  Request request = greedy_request(ids(5), 30);
  request.sampling.logit_bias = {{7, 100.0F}};
  const auto biased = add(request);
  const auto neighbour = add(ids(9, 10), 30);
  run();
  EXPECT_EQ(biased->wait().reason, StopReason::length);
  EXPECT_EQ(neighbour->wait().reason, StopReason::length);
  EXPECT_THAT(biased->tokens(), ::testing::Not(::testing::Contains(7)));
  EXPECT_THROW(engine::check_request(greedy_request({1, 7}, 3), model_, options_), UsageError);
}

/// Allows even ids only.
class EvenTokens : public engine::TokenMask {
 public:
  void apply(std::span<float> logits) override {
    for (size_t i = 1; i < logits.size(); i += 2) logits[i] = -INFINITY;
  }
  void accept(int32_t token) override { accepted.push_back(token); }
  std::vector<int32_t> accepted;
};

TEST_F(SchedulerTest, AMaskRestrictsEveryToken) {
  const auto mask = std::make_shared<EvenTokens>();
  Request request = greedy_request(ids(10), 20);
  request.mask = mask;
  request.num_tokens = 30;
  const auto sink = add(request);
  run();
  ASSERT_EQ(sink->tokens().size(), 20U);
  for (const int32_t token : sink->tokens()) EXPECT_EQ(token % 2, 0);
  EXPECT_THAT(sink->tokens(), Each(Le(29)));
  EXPECT_EQ(mask->accepted, sink->tokens());
}

TEST_F(SchedulerTest, StopAllEndsEverything) {
  std::vector<Sink> sinks;
  for (int i = 0; i < 6; ++i) sinks.push_back(add(ids(10, i), 50));
  scheduler_->step();
  scheduler_->stop_all(StopReason::shutdown);
  for (const Sink& sink : sinks) EXPECT_EQ(sink->wait().reason, StopReason::shutdown);
  EXPECT_FALSE(scheduler_->has_work());
}

TEST(CheckRequest, SaysWhatIsWrong) {
  const FakeModel model(50, 1000);
  const EngineOptions options = small_options();
  const auto refusal = [&](const Request& request) -> std::string {
    try {
      engine::check_request(request, model, options);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(greedy_request(ids(10), 990)), "");
  EXPECT_THAT(refusal(greedy_request({}, 5)), HasSubstr("empty"));
  EXPECT_THAT(refusal(greedy_request({1, 50}, 5)), HasSubstr("token 1 of the prompt is 50"));
  EXPECT_THAT(refusal(greedy_request({1, -1}, 5)), HasSubstr("-1"));
  EXPECT_THAT(refusal(greedy_request({1}, 0)), HasSubstr("max_tokens"));
  // Agents look for this text to compact their conversation.
  EXPECT_THAT(refusal(greedy_request(ids(10), 991)),
              HasSubstr("maximum context length is 1000 tokens"));
  EXPECT_THAT(refusal(greedy_request(ids(10), 991)), HasSubstr("requested 1001 tokens"));
  EXPECT_THROW(engine::check_request(greedy_request({1}, INT64_MAX), model, options),
               engine::ContextLengthError);
}

}  // namespace
}  // namespace lethe::testing
