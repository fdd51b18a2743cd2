// What happens to answers between their beginning and their end: silence, clients that leave, a
// full queue, failures, the end of the server.

#include <gmock/gmock.h>

#include "serve/api_testing.h"

namespace lethe::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::Each;
using ::testing::HasSubstr;

/// An answer that does not end by itself.
Json endless(const char* text = "Hi") {
  return ask(text, {{"ignore_eos", true}, {"max_tokens", 60'000}});
}

serve::ApiOptions short_silence() {
  return {.silence = 20ms};
}

/// Reads up to the first comment.
ChatStream read_until_comment(HttpClient& client) {
  ChatStream stream;
  while (stream.comments.empty() && read_event(client, stream)) {
  }
  return stream;
}

TEST(ApiKeepAlive, StreamsSendCommentsWhileNothingComes) {
  TestApi api(short_silence());
  api.gate.hold();
  HttpClient client = api.start_stream(ask("Hi"));
  const ChatStream begin = read_until_comment(client);
  EXPECT_EQ(begin.deltas().size(), 1U);  // the role has come already
  EXPECT_THAT(begin.comments, Each(" keep-alive"));
  read_until_comment(client);  // and again
  api.gate.allow(2);
  ChatStream middle;
  while (middle.joined("reasoning_content") != "Let me see." && read_event(client, middle)) {
  }
  EXPECT_EQ(read_until_comment(client).comments.size(), 1U);
  api.gate.open();
  const ChatStream rest = read_stream(client);
  EXPECT_TRUE(rest.done);
  EXPECT_EQ(rest.joined("content"), "Hello, I remember.");
}

TEST(ApiKeepAlive, AWaitingRequestIsKeptAwakeToo) {
  engine::EngineOptions one = TestApi::small_engine();
  one.max_running = 1;
  TestApi api(short_silence(), one);
  api.gate.hold();
  HttpClient running = api.start_stream(ask("Hi"));
  api.gate.wait_until_held();
  HttpClient waiting = api.start_stream(ask("Hi"));
  api.wait_for_stats([](const auto& stats) { return stats.waiting == 1; });
  EXPECT_EQ(read_until_comment(waiting).comments.size(), 1U);
  api.gate.open();
  EXPECT_TRUE(read_stream(running).done);
  EXPECT_TRUE(read_stream(waiting).done);
}

TEST(ApiKeepAlive, WholeAnswersBeginWithEmptyLines) {
  TestApi api(short_silence());
  api.gate.hold();
  HttpClient client = api.connect();
  client.request("POST", "/v1/chat/completions", ask("Hi").dump());
  const ClientResponse head = client.read_head();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-type"), "application/json");
  EXPECT_THAT(client.read_chunk().value(), Each('\n'));
  api.gate.open();
  std::string body;
  while (const auto chunk = client.read_chunk()) body += *chunk;
  EXPECT_EQ(Json::parse(body)["choices"][0]["message"]["content"], "Hello, I remember.");
}

TEST(ApiKeepAlive, AFailureAfterThatIsTheBody) {
  TestApi api(short_silence());
  api.gate.hold();
  HttpClient client = api.connect();
  client.request("POST", "/v1/chat/completions", ask("Hi").dump());
  EXPECT_EQ(client.read_head().status, 200);
  api.gate.fail("the disk is gone");
  api.gate.open();
  std::string body;
  while (const auto chunk = client.read_chunk()) body += *chunk;
  EXPECT_EQ(Json::parse(body)["error"]["message"], "the disk is gone");
}

TEST(ApiCancel, AClientThatLeavesEndsItsStream) {
  const TestApi api;
  HttpClient client = api.start_stream(endless());
  ChatStream stream;
  while (stream.deltas().size() < 5 && read_event(client, stream)) {
  }
  api.wait_for_stats([](const auto& stats) { return stats.running == 1; });
  client.close();
  api.wait_for_stats([](const auto& stats) { return stats.running == 0; });
}

TEST(ApiCancel, AClientThatLeavesEndsItsWholeAnswer) {
  const TestApi api;
  HttpClient client = api.connect();
  client.request("POST", "/v1/chat/completions", endless().dump());
  api.wait_for_stats([](const auto& stats) { return stats.running == 1; });
  client.reset();
  api.wait_for_stats([](const auto& stats) { return stats.running == 0; });
}

TEST(ApiCancel, AClientThatLeavesGivesItsPlaceInTheQueueBack) {
  engine::EngineOptions one = TestApi::small_engine();
  one.max_running = 1;
  TestApi api({}, one);
  HttpClient running = api.start_stream(endless());
  api.wait_for_stats([](const auto& stats) { return stats.running == 1; });
  HttpClient waiting = api.start_stream(endless("Ho"));
  api.wait_for_stats([](const auto& stats) { return stats.waiting == 1; });
  waiting.close();
  api.wait_for_stats([](const auto& stats) { return stats.waiting == 0; });
  EXPECT_EQ(api.service().stats().running, 1);
}

TEST(ApiCancel, WhatWasComputedStaysInTheCache) {
  const TestApi api;
  const Json body = endless();
  HttpClient client = api.start_stream(body);
  ChatStream stream;
  while (stream.deltas().size() < 3 && read_event(client, stream)) {
  }
  client.close();
  api.wait_for_stats([](const auto& stats) { return stats.running == 0; });
  Json next = ask("Hi");
  next["messages"].push_back({{"role", "assistant"}, {"content", "x"}});
  next["messages"].push_back({{"role", "user"}, {"content", "Go on"}});
  EXPECT_GT(api.chat(next)["usage"]["prompt_cache_hit_tokens"].get<int64_t>(), 50);
}

TEST(ApiQueue, IsRefusedWith429WhenFull) {
  engine::EngineOptions small = TestApi::small_engine();
  small.max_running = 1;
  small.max_waiting = 1;
  TestApi api({}, small);
  api.gate.hold();
  HttpClient running = api.start_stream(ask("Hi"));
  api.gate.wait_until_held();
  HttpClient waiting = api.start_stream(ask("Hi"));
  for (const bool stream : {false, true}) {
    const ClientResponse refused = api.post(ask("Hi", {{"stream", stream}}).dump());
    EXPECT_EQ(refused.status, 429);
    EXPECT_EQ(refused.header("retry-after"), "1");
    const Json error = Json::parse(refused.body)["error"];
    EXPECT_EQ(error["type"], "rate_limit_error");
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("--max-waiting"));
  }
  api.gate.open();
  EXPECT_TRUE(read_stream(running).done);
  EXPECT_TRUE(read_stream(waiting).done);
  EXPECT_EQ(api.post(ask("Hi").dump()).status, 200);
}

TEST(ApiFailure, IsToldInTheStreamWhichThenEnds) {
  TestApi api;
  api.gate.allow(2);
  HttpClient client = api.start_stream(ask("Hi"));
  ChatStream stream;
  while (stream.joined("reasoning_content").empty() && read_event(client, stream)) {
  }
  api.gate.fail("the disk is gone");
  api.gate.open();
  const ChatStream rest = read_stream(client);
  EXPECT_FALSE(rest.done);
  EXPECT_EQ(rest.last()["error"]["message"], "the disk is gone");
  EXPECT_EQ(rest.last()["error"]["type"], "server_error");
  api.gate.fail("");
  EXPECT_TRUE(api.stream(ask("Hi")).done);  // the next request is served
}

TEST(ApiFailure, IsA500OfAWholeAnswer) {
  TestApi api;
  api.gate.fail("the disk is gone");
  const ClientResponse response = api.post(ask("Hi").dump());
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(Json::parse(response.body)["error"]["type"], "server_error");
}

TEST(ApiShutdown, RunningAnswersMayEnd) {
  TestApi api;
  api.gate.hold();
  HttpClient client = api.start_stream(ask("Hi"));
  api.gate.wait_until_held();
  api.server().stop();
  api.gate.open();
  const ChatStream stream = read_stream(client);
  EXPECT_TRUE(stream.done);
  EXPECT_EQ(stream.joined("content"), "Hello, I remember.");
  api.join();  // nothing else keeps the server
}

TEST(ApiShutdown, ASecondStopEndsAnswersWithTheirReason) {
  TestApi api;
  HttpClient client = api.start_stream(endless());
  HttpClient whole = api.connect();
  whole.request("POST", "/v1/chat/completions", endless().dump());
  api.wait_for_stats([](const auto& stats) { return stats.running == 2; });
  api.server().stop();
  api.server().stop();
  const ChatStream stream = read_stream(client);
  EXPECT_TRUE(stream.done);
  EXPECT_EQ(stream.last()["choices"][0]["finish_reason"], "insufficient_system_resource");
  EXPECT_GT(stream.last()["usage"]["prompt_tokens"].get<int64_t>(), 0);
  const Json response = Json::parse(whole.read_response().body);
  EXPECT_EQ(response["choices"][0]["finish_reason"], "insufficient_system_resource");
  api.join();
}

TEST(ApiShutdown, TheDrainTimeEndsAnswersToo) {
  serve::ApiOptions options;
  options.http.drain_time = 1ms;
  TestApi api(options);
  HttpClient client = api.start_stream(endless());
  api.wait_for_stats([](const auto& stats) { return stats.running == 1; });
  api.server().stop();
  EXPECT_EQ(read_stream(client).last()["choices"][0]["finish_reason"],
            "insufficient_system_resource");
  api.join();
}

TEST(ApiShutdown, AThirdStopClosesConnections) {
  TestApi api;
  api.gate.hold();
  HttpClient client = api.start_stream(ask("Hi"));
  api.gate.wait_until_held();
  for (int i = 0; i < 3; ++i) api.server().stop();
  api.join();  // although the engine is stuck
  EXPECT_THROW(read_stream(client), std::runtime_error);
  api.gate.open();
}

}  // namespace
}  // namespace lethe::testing
