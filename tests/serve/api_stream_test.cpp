// Streamed answers of POST /chat/completions (spec api.md section 2.3).

#include <gmock/gmock.h>

#include <atomic>

#include "serve/api_testing.h"

namespace lethe::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Json> parsed(const std::vector<const char*>& texts) {
  std::vector<Json> out;
  for (const char* text : texts) out.push_back(Json::parse(text));
  return out;
}

TEST(ApiStream, HeadersForbidBuffering) {
  const TestApi api;
  HttpClient client = api.connect();
  client.request("POST", "/chat/completions", ask("Hi", {{"stream", true}}).dump());
  const ClientResponse head = client.read_head();
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.header("content-type"), "text/event-stream; charset=utf-8");
  EXPECT_EQ(head.header("cache-control"), "no-cache");
  EXPECT_EQ(head.header("x-accel-buffering"), "no");
  EXPECT_TRUE(read_stream(client).done);
  // The connection serves the next request.
  client.request("GET", "/health");
  EXPECT_EQ(client.read_response().status, 200);
}

TEST(ApiStream, ThinkingAnswerInItsSteps) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", {{"model", "my-model"}}));
  EXPECT_TRUE(stream.done);
  EXPECT_EQ(stream.deltas(),
            parsed({R"({"role":"assistant","content":null,"reasoning_content":""})",
                    R"({"content":null,"reasoning_content":"Let me "})",
                    R"({"content":null,"reasoning_content":"see."})",
                    R"({"content":"Hello","reasoning_content":null})",
                    R"({"content":", ","reasoning_content":null})",
                    R"({"content":"I remember.","reasoning_content":null})",
                    R"({"content":"","reasoning_content":null})"}));
  for (const Json& chunk : stream.chunks) {
    EXPECT_EQ(chunk["object"], "chat.completion.chunk");
    EXPECT_EQ(chunk["id"], stream.chunks[0]["id"]);
    EXPECT_EQ(chunk["created"], stream.chunks[0]["created"]);
    EXPECT_EQ(chunk["model"], "my-model");
    EXPECT_EQ(chunk["choices"].size(), 1U);
    EXPECT_EQ(chunk["choices"][0]["index"], 0);
    EXPECT_TRUE(chunk["choices"][0]["logprobs"].is_null());
    const bool is_last = &chunk == &stream.last();
    EXPECT_EQ(chunk["choices"][0]["finish_reason"], is_last ? Json("stop") : Json(nullptr));
    EXPECT_EQ(chunk.contains("usage"), is_last);
  }
  EXPECT_EQ(stream.last()["usage"]["completion_tokens"], 7);
  EXPECT_EQ(stream.last()["usage"]["completion_tokens_details"]["reasoning_tokens"], 3);
}

TEST(ApiStream, ChatModeHasNoReasoningKey) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", kNoThinking));
  EXPECT_EQ(stream.deltas(),
            parsed({R"({"role":"assistant","content":""})", R"({"content":"Hello"})",
                    R"({"content":", "})", R"({"content":"I remember."})", R"({"content":""})"}));
}

TEST(ApiStream, ToolCallBeginsAndGoesOn) {
  const TestApi api;
  const Json body =
      with(ask("Weather?", with(kNoThinking, weather_tools())), {{"tool_choice", "required"}});
  const ChatStream stream = api.stream(body);
  const std::vector<Json> deltas = stream.deltas();
  ASSERT_GE(deltas.size(), 4U);
  EXPECT_EQ(deltas[0], Json::parse(R"({"role":"assistant","content":""})"));
  Json begin = deltas[1];
  ASSERT_EQ(begin["tool_calls"].size(), 1U);
  EXPECT_FALSE(begin["tool_calls"][0]["id"].get<std::string>().empty());
  begin["tool_calls"][0]["id"] = "";
  EXPECT_EQ(begin, Json::parse(R"({"tool_calls":[{"index":0,"id":"","type":"function",)"
                               R"("function":{"name":"get_weather","arguments":""}}]})"));
  std::string arguments;
  for (size_t i = 2; i + 1 < deltas.size(); ++i) {
    Json delta = deltas[i];
    arguments += delta["tool_calls"][0]["function"]["arguments"].get<std::string>();
    delta["tool_calls"][0]["function"]["arguments"] = "";
    EXPECT_EQ(delta, Json::parse(R"({"tool_calls":[{"index":0,"function":{"arguments":""}}]})"));
  }
  EXPECT_EQ(Json::parse(arguments), (Json{{"city", "Paris"}}));
  EXPECT_EQ(deltas.back(), Json::parse(R"({"content":""})"));
  EXPECT_EQ(stream.last()["choices"][0]["finish_reason"], "tool_calls");
}

TEST(ApiStream, UsageIsNullBeforeTheEndIfAskedFor) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", {{"stream_options", {{"include_usage", true}}}}));
  for (const Json& chunk : stream.chunks) {
    ASSERT_TRUE(chunk.contains("usage"));
    EXPECT_EQ(chunk["usage"].is_null(), &chunk != &stream.last());
    EXPECT_EQ(chunk["choices"].size(), 1U);
  }
}

TEST(ApiStream, OpenAiUsageComesInAChunkOfItsOwn) {
  const TestApi api({.usage_in_own_chunk = true});
  const ChatStream asked = api.stream(ask("Hi", {{"stream_options", {{"include_usage", true}}}}));
  EXPECT_EQ(asked.last()["choices"], Json::array());
  EXPECT_EQ(asked.last()["usage"]["completion_tokens"], 7);
  const Json& before = asked.chunks.at(asked.chunks.size() - 2);
  EXPECT_EQ(before["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(before["usage"].is_null());
  const ChatStream unasked = api.stream(ask("Hi"));
  EXPECT_EQ(unasked.last()["choices"][0]["finish_reason"], "stop");
  for (const Json& chunk : unasked.chunks) EXPECT_FALSE(chunk.contains("usage"));
}

TEST(ApiStream, LogprobsComeWithTheirText) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", {{"logprobs", true}, {"top_logprobs", 1}}));
  std::string reasoning;
  std::string answer;
  for (const Json& chunk : stream.chunks) {
    const Json& logprobs = chunk["choices"][0]["logprobs"];
    if (logprobs.is_null()) continue;
    for (const Json& entry : logprobs["reasoning_content"]) {
      reasoning += entry["token"].get<std::string>() + "|";
      EXPECT_EQ(entry["top_logprobs"].size(), 1U);
    }
    for (const Json& entry : logprobs["content"]) {
      answer += entry["token"].get<std::string>() + "|";
      EXPECT_EQ(entry["bytes"].size(), entry["token"].get<std::string>().size());
    }
  }
  EXPECT_EQ(reasoning, "Let me |see.|</think>|");
  EXPECT_EQ(answer, "Hello|, |I remember.|");
}

TEST(ApiStream, StopStringsAreHeldBack) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", {{"stop", "o, I"}}));
  EXPECT_EQ(stream.joined("content"), "Hell");
  EXPECT_EQ(stream.last()["choices"][0]["finish_reason"], "stop");
  const ChatStream unfinished = api.stream(ask("Hi", {{"stop", "I remember. Not"}}));
  EXPECT_EQ(unfinished.joined("content"), "Hello, I remember.");
}

TEST(ApiStream, MaxTokensEndsWithLength) {
  const TestApi api;
  const ChatStream stream = api.stream(ask("Hi", {{"max_tokens", 2}}));
  EXPECT_EQ(stream.joined("reasoning_content"), "Let me see.");
  EXPECT_EQ(stream.last()["choices"][0]["finish_reason"], "length");
}

TEST(ApiStream, RefusalsComeBeforeTheStream) {
  const TestApi api;
  const ClientResponse response =
      api.post(ask("Hi", {{"stream", true}, {"max_tokens", 65536}}).dump());
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.header("content-type"), "application/json");
  EXPECT_THAT(response.body, HasSubstr("maximum context length"));
}

TEST(ApiStream, EightAtATime) {
  TestApi api;
  api.gate.hold();
  std::vector<std::thread> clients;
  std::atomic<int> right = 0;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&, thinking = i % 2 == 0] {
      const ChatStream stream = api.stream(ask("Hi", thinking ? Json::object() : kNoThinking));
      if (stream.done && stream.joined("content") == "Hello, I remember." &&
          stream.joined("reasoning_content") == (thinking ? "Let me see." : "")) {
        ++right;
      }
    });
  }
  api.wait_for_stats([](const auto& stats) { return stats.running + stats.waiting == 8; });
  api.gate.open();
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 8);
}

}  // namespace
}  // namespace lethe::testing
