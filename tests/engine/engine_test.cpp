#include "engine/engine.h"

#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "engine_testing.h"
#include "fake_model.h"

namespace lethe::testing {
namespace {

using engine::Engine;
using engine::EngineOptions;
using engine::StopReason;
using ::testing::HasSubstr;

EngineOptions options_with(int64_t max_running, int64_t max_waiting) {
  return {.max_running = max_running, .max_waiting = max_waiting, .memory_bytes = int64_t{1} << 30};
}

/// Holds forward passes back until it is opened.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for_arrival() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

TEST(Engine, ManyThreadsAtOnceGetTheirOwnAnswers) {
  FakeModel model;
  Engine engine(model, options_with(5, 100));
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 5; ++i) {
        const std::vector<int32_t> prompt = {c, i, c + i, 3};
        auto sink = std::make_shared<CollectingSink>();
        engine.submit(greedy_request(prompt, 10), sink);
        sink->wait();
        if (sink->tokens() == model.expected_greedy(prompt, 10)) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 40);
  while (engine.stats().finished < 40) std::this_thread::yield();  // counted after sinks are told
  const engine::EngineStats stats = engine.stats();
  EXPECT_EQ(stats.prompt_tokens, 40 * 4);
  EXPECT_EQ(stats.completion_tokens, 40 * 10);
}

TEST(Engine, RefusesWhatItCannotRun) {
  FakeModel model(50, 100);
  Engine engine(model, options_with(1, 1));
  const auto sink = std::make_shared<CollectingSink>();
  EXPECT_THROW(engine.submit(greedy_request({1}, 100), sink), engine::ContextLengthError);
  EXPECT_THROW(engine.submit(greedy_request({}, 1), sink), UsageError);
  engine::Request request = greedy_request({1}, 1);
  request.sampling.temperature = -1;
  EXPECT_THROW(engine.submit(request, sink), UsageError);
  EXPECT_FALSE(sink->ended());
  EXPECT_THROW(Engine(model, {.prefill_chunk = -1}), UsageError);
  EXPECT_THROW(Engine(model, {.max_running = 0}), UsageError);
}

TEST(Engine, RefusesWhenTooManyWait) {
  FakeModel model;
  Gate gate;
  model.on_forward = [&] { gate.pass(); };
  Engine engine(model, options_with(1, 2));
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  const auto submit = [&] {
    sinks.push_back(std::make_shared<CollectingSink>());
    engine.submit(greedy_request({1, 2}, 3), sinks.back());
  };
  submit();
  gate.wait_for_arrival();
  EXPECT_EQ(engine.stats().running, 1);
  EXPECT_EQ(engine.stats().waiting, 0);
  submit();
  submit();
  EXPECT_EQ(engine.stats().waiting, 2);
  try {
    submit();
    FAIL();
  } catch (const engine::BusyError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--max-waiting"));
    sinks.pop_back();
  }
  gate.open();
  for (const auto& sink : sinks) EXPECT_EQ(sink->wait().reason, StopReason::length);
}

TEST(Engine, CancelTakesEffectAfterTheStepThatRuns) {
  FakeModel model;
  Gate gate;
  model.on_forward = [&] { gate.pass(); };
  Engine engine(model, options_with(4, 4));
  const auto sink = std::make_shared<CollectingSink>();
  const engine::RequestId id = engine.submit(greedy_request({1, 2}, 900), sink);
  gate.wait_for_arrival();
  engine.cancel(id);
  gate.open();
  EXPECT_EQ(sink->wait().reason, StopReason::cancelled);
  EXPECT_LE(sink->tokens().size(), 1U);
  engine.cancel(id);  // long gone
  engine.cancel(12345);
}

/// Cancels its own request from the engine's thread, and asks for another one.
class RestlessSink : public CollectingSink {
 public:
  bool on_token(const engine::SampledToken& token) override {
    CollectingSink::on_token(token);
    if (tokens().size() == 2) {
      engine->submit(greedy_request({4, 5}, 2), next);
      engine->cancel(id);
    }
    return true;
  }
  Engine* engine = nullptr;
  std::atomic<engine::RequestId> id = 0;
  std::shared_ptr<CollectingSink> next = std::make_shared<CollectingSink>();
};

TEST(Engine, SinksMayCallBack) {
  FakeModel model;
  Gate gate;
  model.on_forward = [&] { gate.pass(); };
  Engine engine(model, options_with(4, 4));
  const auto sink = std::make_shared<RestlessSink>();
  sink->engine = &engine;
  sink->id = engine.submit(greedy_request({1, 2}, 900), sink);
  gate.open();
  EXPECT_EQ(sink->wait().reason, StopReason::cancelled);
  EXPECT_EQ(sink->tokens().size(), 2U);
  EXPECT_EQ(sink->next->wait().reason, StopReason::length);
}

TEST(Engine, EndingItEndsItsRequests) {
  FakeModel model;
  std::vector<std::shared_ptr<CollectingSink>> sinks;
  {
    Engine engine(model, options_with(2, 10));
    model.on_forward = [] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
    for (int i = 0; i < 5; ++i) {
      sinks.push_back(std::make_shared<CollectingSink>());
      engine.submit(greedy_request({1, 2}, 900), sinks.back());
    }
  }
  for (const auto& sink : sinks) {
    EXPECT_EQ(sink->num_ends(), 1);
    EXPECT_EQ(sink->wait().reason, StopReason::shutdown);
  }
}

TEST(Engine, AfterShuttingDownNothingIsTakenIn) {
  FakeModel model;
  Gate gate;
  model.on_forward = [&] { gate.pass(); };
  Engine engine(model, options_with(1, 10));
  const auto running = std::make_shared<CollectingSink>();
  const auto waiting = std::make_shared<CollectingSink>();
  engine.submit(greedy_request({1, 2}, 900), running);
  gate.wait_for_arrival();
  engine.submit(greedy_request({1, 2}, 900), waiting);
  engine.shut_down();
  EXPECT_THROW(engine.submit(greedy_request({1, 2}, 1), running), engine::ShutDownError);
  gate.open();
  EXPECT_EQ(running->wait().reason, StopReason::shutdown);
  EXPECT_EQ(waiting->wait().reason, StopReason::shutdown);
}

TEST(Engine, AChangedModelFileFailsRequests) {
  FakeModel model;
  std::atomic<bool> changed = false;
  Engine engine(model, options_with(2, 2), [&] {
    if (changed) throw IoError("model.safetensors was changed while it was in use");
  });
  const auto before = std::make_shared<CollectingSink>();
  engine.submit(greedy_request({1}, 3), before);
  EXPECT_EQ(before->wait().reason, StopReason::length);
  changed = true;
  const auto after = std::make_shared<CollectingSink>();
  engine.submit(greedy_request({1}, 3), after);
  EXPECT_EQ(after->wait().reason, StopReason::failed);
  EXPECT_THAT(after->wait().error, HasSubstr("changed"));
}

}  // namespace
}  // namespace lethe::testing
