// Whole answers of POST /chat/completions (spec api.md section 2.2).

#include <gmock/gmock.h>

#include <set>

#include "serve/api_testing.h"

namespace lethe::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::Le;
using ::testing::StartsWith;

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> out;
  for (const auto& [key, value] : object.items()) out.push_back(key);
  return out;
}

const Json& message_of(const Json& response) {
  return response.at("choices").at(0).at("message");
}

std::string finish_of(const Json& response) {
  return response.at("choices").at(0).at("finish_reason");
}

int32_t token_id(const std::string& text) {
  return scripted_model().tokenizer().find_added(text).value();
}

TEST(ApiChat, ThinkingAnswerHasEveryKey) {
  const TestApi api;
  const auto before = std::chrono::system_clock::now().time_since_epoch();
  const Json response = api.chat(ask("Do you remember?", {{"model", "my-model"}}));
  EXPECT_THAT(keys(response), ElementsAre("id", "object", "created", "model", "system_fingerprint",
                                          "choices", "usage"));
  EXPECT_FALSE(response["id"].get<std::string>().empty());
  EXPECT_EQ(response["object"], "chat.completion");
  EXPECT_THAT(response["created"].get<int64_t>(),
              Ge(std::chrono::duration_cast<std::chrono::seconds>(before).count()));
  EXPECT_EQ(response["model"], "my-model");
  EXPECT_THAT(response["system_fingerprint"].get<std::string>(), StartsWith("lethe-"));
  ASSERT_EQ(response["choices"].size(), 1U);
  const Json expected_choice = {{"index", 0},
                                {"message",
                                 {{"role", "assistant"},
                                  {"content", "Hello, I remember."},
                                  {"reasoning_content", "Let me see."}}},
                                {"logprobs", nullptr},
                                {"finish_reason", "stop"}};
  EXPECT_EQ(response["choices"][0], expected_choice);
  const int64_t prompt = response["usage"]["prompt_tokens"];
  EXPECT_GT(prompt, 0);
  const Json expected_usage = {{"prompt_tokens", prompt},
                               {"completion_tokens", 7},
                               {"total_tokens", prompt + 7},
                               {"prompt_cache_hit_tokens", 0},
                               {"prompt_cache_miss_tokens", prompt},
                               {"prompt_tokens_details", {{"cached_tokens", 0}}},
                               {"completion_tokens_details", {{"reasoning_tokens", 3}}}};
  EXPECT_EQ(response["usage"], expected_usage);
}

TEST(ApiChat, ChatModeHasNoReasoning) {
  const TestApi api;
  const Json response = api.chat(ask("Hi", kNoThinking));
  EXPECT_THAT(keys(message_of(response)), ElementsAre("role", "content"));
  EXPECT_EQ(message_of(response)["content"], "Hello, I remember.");
  EXPECT_EQ(response["model"], "deepseek-flash");  // the request named none
  EXPECT_EQ(response["usage"]["completion_tokens"], 4);
  EXPECT_EQ(response["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
}

TEST(ApiChat, TheModeIsChosenInManyWays) {
  const TestApi api;
  const auto thinks = [&](const char* members) {
    const Json response = api.chat(ask("Hi", Json::parse(members)));
    return message_of(response).contains("reasoning_content");
  };
  EXPECT_TRUE(thinks(R"({})"));
  EXPECT_TRUE(thinks(R"({"thinking":{"type":"adaptive"}})"));
  EXPECT_TRUE(thinks(R"({"reasoning_effort":"low"})"));
  EXPECT_TRUE(thinks(R"({"reasoning_effort":37})"));
  EXPECT_FALSE(thinks(R"({"reasoning_effort":"none"})"));
  EXPECT_TRUE(thinks(R"({"reasoning_effort":"none","thinking":{"type":"enabled"}})"));
  EXPECT_FALSE(thinks(R"({"chat_template_kwargs":{"thinking":false}})"));
  EXPECT_FALSE(thinks(R"({"chat_template_kwargs":{"enable_thinking":false}})"));
  EXPECT_FALSE(thinks(R"({"model":"deepseek-chat"})"));
  EXPECT_FALSE(thinks(R"({"model":"deepseek-chat[1m]"})"));
  EXPECT_TRUE(thinks(R"({"model":"deepseek-chat","thinking":{"type":"enabled"}})"));
  EXPECT_TRUE(thinks(R"({"model":"deepseek-reasoner"})"));
  EXPECT_TRUE(thinks(R"({"model":"deepseek-reasoner","reasoning_effort":"none"})"));
  EXPECT_FALSE(thinks(R"({"model":"deepseek-reasoner","thinking":{"type":"disabled"}})"));
}

Json forced_call_body(const Json& choice) {
  return with(ask("Weather?", with(kNoThinking, weather_tools())), {{"tool_choice", choice}});
}

TEST(ApiChat, ToolCallsComeWithIdsAndResultsGoBack) {
  const TestApi api;
  const Json named = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  std::set<std::string> ids;
  for (const Json& choice : {Json("required"), named}) {
    const Json response = api.chat(forced_call_body(choice));
    EXPECT_EQ(finish_of(response), "tool_calls");
    EXPECT_EQ(message_of(response)["content"], "");
    ASSERT_EQ(message_of(response)["tool_calls"].size(), 1U);
    const Json& call = message_of(response)["tool_calls"][0];
    EXPECT_THAT(keys(call), ElementsAre("id", "type", "function"));
    EXPECT_EQ(call["type"], "function");
    EXPECT_EQ(call["function"]["name"], "get_weather");
    EXPECT_EQ(Json::parse(call["function"]["arguments"].get<std::string>()),
              (Json{{"city", "Paris"}}));
    ids.insert(call["id"].get<std::string>());

    Json next = forced_call_body("auto");
    next["messages"].push_back(message_of(response));
    next["messages"].push_back(
        {{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "18 degrees"}});
    const Json answer = api.chat(next);
    EXPECT_EQ(message_of(answer)["content"], "Hello, I remember.");
    EXPECT_FALSE(message_of(answer).contains("tool_calls"));
    EXPECT_EQ(finish_of(answer), "stop");
  }
  EXPECT_EQ(ids.size(), 2U);
}

TEST(ApiChat, MaxTokensCutsTheAnswer) {
  const TestApi api;
  for (const char* key : {"max_tokens", "max_completion_tokens"}) {
    const Json response = api.chat(ask("Hi", with(kNoThinking, {{key, 2}})));
    EXPECT_EQ(message_of(response)["content"], "Hello, ");
    EXPECT_EQ(finish_of(response), "length");
    EXPECT_EQ(response["usage"]["completion_tokens"], 2);
  }
  const Json in_reasoning = api.chat(ask("Hi", {{"max_tokens", 1}}));
  EXPECT_EQ(message_of(in_reasoning)["reasoning_content"], "Let me ");
  EXPECT_EQ(message_of(in_reasoning)["content"], "");
  EXPECT_EQ(in_reasoning["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
  // A call that was cut off is shown as far as it came, as the stream would have shown it.
  const Json cut = api.chat(with(forced_call_body("required"), {{"max_tokens", 3}}));
  EXPECT_EQ(finish_of(cut), "length");
  ASSERT_EQ(message_of(cut)["tool_calls"].size(), 1U);
  EXPECT_EQ(message_of(cut)["tool_calls"][0]["function"]["name"], "get_weather");
}

TEST(ApiChat, StopStringsAreNotReturned) {
  const TestApi api;
  const auto content = [&](const Json& stop) {
    const Json response = api.chat(ask("Hi", {{"stop", stop}}));
    EXPECT_EQ(finish_of(response), "stop");
    EXPECT_EQ(message_of(response)["reasoning_content"], "Let me see.");
    return message_of(response)["content"].get<std::string>();
  };
  EXPECT_EQ(content("o, I"), "Hell");  // cuts across three tokens
  EXPECT_EQ(content(Json::array({"nothing", "remember"})), "Hello, I ");
  EXPECT_EQ(content("Let me"), "Hello, I remember.");  // reasoning does not count
  EXPECT_EQ(content(""), "Hello, I remember.");
  EXPECT_EQ(content(nullptr), "Hello, I remember.");
}

TEST(ApiChat, IgnoreEosGoesOn) {
  const TestApi api;
  const Json response =
      api.chat(ask("Hi", with(kNoThinking, {{"ignore_eos", true}, {"max_tokens", 9}})));
  EXPECT_EQ(finish_of(response), "length");
  EXPECT_EQ(response["usage"]["completion_tokens"], 9);
  EXPECT_THAT(message_of(response)["content"].get<std::string>(), StartsWith("Hello, I remember."));
}

TEST(ApiChat, TheSameSeedDrawsTheSame) {
  const TestApi api;
  // Five tokens of equal probability instead of one that is certain.
  Json bias = {{std::to_string(token_id("Hello")), -100}};
  for (const char* text : {", ", "I remember.", "Once", " upon"}) {
    bias[std::to_string(token_id(text))] = 28;
  }
  const auto draw = [&](int64_t seed) {
    const Json response = api.chat(
        ask("Hi", with(kNoThinking, {{"logit_bias", bias}, {"seed", seed}, {"max_tokens", 3}})));
    return message_of(response)["content"].get<std::string>();
  };
  std::set<std::string> different;
  for (int64_t seed = 0; seed < 20; ++seed) {
    const std::string drawn = draw(seed);
    EXPECT_EQ(draw(seed), drawn);
    different.insert(drawn);
  }
  EXPECT_GT(different.size(), 1U);
}

TEST(ApiChat, LogprobsOfReasoningAndAnswer) {
  const TestApi api;
  const Json response = api.chat(ask("Hi", {{"logprobs", true}, {"top_logprobs", 2}}));
  const Json& logprobs = response["choices"][0]["logprobs"];
  EXPECT_THAT(keys(logprobs), ElementsAre("content", "reasoning_content"));
  const auto tokens = [](const Json& entries) {
    std::vector<std::string> out;
    for (const Json& entry : entries) out.push_back(entry["token"]);
    return out;
  };
  EXPECT_THAT(tokens(logprobs["reasoning_content"]), ElementsAre("Let me ", "see.", "</think>"));
  EXPECT_THAT(tokens(logprobs["content"]), ElementsAre("Hello", ", ", "I remember."));
  const Json& hello = logprobs["content"][0];
  EXPECT_THAT(keys(hello), ElementsAre("token", "logprob", "bytes", "top_logprobs"));
  EXPECT_EQ(hello["bytes"], (Json{72, 101, 108, 108, 111}));
  EXPECT_THAT(hello["logprob"].get<double>(), ::testing::AllOf(Le(0), Ge(-1e-6)));
  ASSERT_EQ(hello["top_logprobs"].size(), 2U);
  EXPECT_EQ(hello["top_logprobs"][0]["token"], "Hello");
  EXPECT_THAT(keys(hello["top_logprobs"][1]), ElementsAre("token", "logprob", "bytes"));
  EXPECT_NEAR(hello["top_logprobs"][1]["logprob"].get<double>(), -128, 0.01);
  // Without top_logprobs the list is there, and empty.
  const Json plain = api.chat(ask("Hi", {{"logprobs", true}}));
  EXPECT_EQ(plain["choices"][0]["logprobs"]["content"][0]["top_logprobs"], Json::array());
}

/// The next turn after `response` to `body`.
Json next_turn(Json body, const Json& response) {
  body["messages"].push_back(message_of(response));
  body["messages"].push_back({{"role", "user"}, {"content", "And then?"}});
  return body;
}

int64_t cached(const Json& response) {
  const Json& usage = response["usage"];
  EXPECT_EQ(usage["prompt_cache_hit_tokens"], usage["prompt_tokens_details"]["cached_tokens"]);
  EXPECT_EQ(usage["prompt_cache_hit_tokens"].get<int64_t>() +
                usage["prompt_cache_miss_tokens"].get<int64_t>(),
            usage["prompt_tokens"].get<int64_t>());
  return usage["prompt_cache_hit_tokens"];
}

TEST(ApiChat, ASecondTurnTakesTheFirstFromTheCache) {
  const TestApi api;
  for (const Json& mode : {kNoThinking, Json::object()}) {
    const Json first_body = ask("Hi", mode);
    const Json first = api.chat(first_body);
    EXPECT_LE(cached(first), 1);  // the beginning of all prompts
    const Json second = api.chat(next_turn(first_body, first));
    // This model's answers are tokens that no client's text is made of: the prompt is what is
    // equal.
    EXPECT_EQ(cached(second), first["usage"]["prompt_tokens"].get<int64_t>());
  }
}

TEST(ApiChat, UsersShareNoCache) {
  const TestApi api;
  const Json body = ask("Hi", {{"user_id", "anna"}});
  const Json next = next_turn(body, api.chat(body));
  EXPECT_EQ(cached(api.chat(with(next, {{"user_id", "bob"}}))), 0);
  EXPECT_GT(cached(api.chat(next)), 0);
}

TEST(ApiChat, CachePromptFalseLeavesTheCacheAlone) {
  const TestApi api;
  const Json off = {{"cache_prompt", false}};
  const Json body = ask("Hi");
  const Json next = next_turn(body, api.chat(with(body, off)));
  EXPECT_EQ(cached(api.chat(next)), 0);  // nothing was left there
  EXPECT_GT(cached(api.chat(next_turn(next, api.chat(next)))), 0);
  EXPECT_EQ(cached(api.chat(with(next, off))), 0);
}

TEST(ApiChat, PrefixContinuesTheLastMessage) {
  const TestApi api;
  Json body = ask("Hi", kNoThinking);
  body["messages"].push_back({{"role", "assistant"}, {"content", "Hello"}, {"prefix", true}});
  const Json response = api.chat(body);
  EXPECT_EQ(finish_of(response), "stop");
  // The model goes on from the letters of "Hello", not from the end of thinking.
  EXPECT_EQ(message_of(response)["content"], "Once upon a time.");
}

}  // namespace
}  // namespace lethe::testing
