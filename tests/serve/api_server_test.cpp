// Routes, keys and refusals (spec api.md sections 1, 2.1, 2.4 and 2.7).

#include <gmock/gmock.h>

#include "serve/api_testing.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// The error object of an answer; checks that it has the API's form.
Json error_of(const ClientResponse& response) {
  EXPECT_EQ(response.header("content-type"), "application/json");
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body.size(), 1U) << response.body;
  const Json& error = body.at("error");
  EXPECT_EQ(error.size(), 4U) << response.body;
  EXPECT_TRUE(error.at("param").is_null());
  EXPECT_EQ(error.at("type"), error.at("code"));
  EXPECT_THAT(error.at("message").get<std::string>(), Not(IsEmpty()));
  return error;
}

void expect_error(const ClientResponse& response, int status, const std::string& type,
                  const std::string& message) {
  EXPECT_EQ(response.status, status) << response.body;
  const Json error = error_of(response);
  EXPECT_EQ(error["type"], type);
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(message));
}

TEST(ApiServer, RoutesStandUnderEveryPrefix) {
  const TestApi api;
  for (const std::string prefix : {"", "/v1", "/beta", "/beta/v1"}) {
    SCOPED_TRACE(prefix);
    EXPECT_EQ(api.get(prefix + "/models").status, 200);
    EXPECT_EQ(api.get(prefix + "/models/").status, 200);
    EXPECT_EQ(api.get(prefix + "/models?beta=true").status, 200);
    EXPECT_EQ(api.get(prefix + "/user/balance").status, 200);
    const std::string body = ask("Hi", {{"max_tokens", 1}}).dump();
    EXPECT_EQ(api.post(body, {}, prefix + "/chat/completions").status, 200);
    EXPECT_EQ(api.post(body, {}, prefix + "/chat/completions/?beta=true").status, 200);
  }
  expect_error(api.get("/v2/models"), 404, "invalid_request_error", "/v2/models");
  expect_error(api.get("/v1models"), 404, "invalid_request_error", "/v1models");
}

TEST(ApiServer, RootAnswersProbes) {
  const TestApi api;
  EXPECT_EQ(api.get("/").status, 200);
  EXPECT_EQ(api.get("/v1").status, 200);
  EXPECT_EQ(api.get("/v1/").status, 200);
  HttpClient client = api.connect();
  client.request("HEAD", "/");
  EXPECT_EQ(client.read_response(true).status, 200);
  client.request("HEAD", "/health");  // the same connection: no body was sent
  EXPECT_EQ(client.read_response(true).status, 200);
}

TEST(ApiServer, ModelsAreListedAndDescribed) {
  const TestApi api;
  const Json list = Json::parse(api.get("/v1/models").body);
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2U);
  const Json expected = {{"id", "deepseek-flash"},
                         {"object", "model"},
                         {"owned_by", "deepseek"},
                         {"context_length", 65536},
                         {"max_output", 65536}};
  EXPECT_EQ(list["data"][0], expected);
  EXPECT_EQ(list["data"][1]["id"], "scripted");
  EXPECT_EQ(Json::parse(api.get("/models/deepseek-flash").body), expected);
  EXPECT_EQ(Json::parse(api.get("/models/deepseek%2Dflash").body), expected);
  expect_error(api.get("/models/gpt-4"), 404, "invalid_request_error", "gpt-4");
  expect_error(api.get("/models/%zz"), 404, "invalid_request_error", "model");
}

TEST(ApiServer, BalanceIsAConstant) {
  const TestApi api;
  EXPECT_EQ(api.get("/user/balance").body,
            R"({"is_available":true,"balance_infos":[{"currency":"USD","total_balance":"0.00",)"
            R"("granted_balance":"0.00","topped_up_balance":"0.00"}]})");
}

TEST(ApiServer, WrongMethodsAreToldTheRightOne) {
  const TestApi api;
  const ClientResponse response = api.get("/v1/chat/completions");
  expect_error(response, 405, "invalid_request_error", "POST");
  EXPECT_EQ(response.header("allow"), "POST");
  EXPECT_EQ(api.post("{}", {}, "/models").header("allow"), "GET");
  EXPECT_EQ(api.post("{}", {}, "/models/deepseek-flash").status, 405);
  expect_error(api.post("{}", {}, "/v1/files"), 404, "invalid_request_error", "POST /v1/files");
}

TEST(ApiServer, WithoutAModelOnlyOpenRoutesAnswer) {
  TestApi api({}, TestApi::small_engine(), false);
  const ClientResponse health = api.get("/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_EQ(health.body, R"({"status":"loading"})");
  EXPECT_EQ(api.get("/").status, 200);
  const ClientResponse refused = api.post(ask("Hi").dump());
  expect_error(refused, 503, "server_error", "loaded");
  EXPECT_THAT(refused.header("retry-after"), Not(IsEmpty()));
  api.load();
  EXPECT_EQ(api.get("/health").body, R"({"status":"ok"})");
  EXPECT_EQ(api.post(ask("Hi", {{"max_tokens", 1}}).dump()).status, 200);
}

TEST(ApiServer, AKeyIsDemandedIfThereIsOne) {
  const TestApi api({.api_key = "secret"});
  const auto status = [&](const serve::HttpHeaders& headers) {
    return api.get("/v1/models", headers).status;
  };
  expect_error(api.get("/v1/models"), 401, "authentication_error", "Authorization: Bearer");
  expect_error(api.post(ask("Hi").dump()), 401, "authentication_error", "key");
  EXPECT_EQ(status({{"Authorization", "Bearer secret"}}), 200);
  EXPECT_EQ(status({{"Authorization", "bearer secret"}}), 200);
  EXPECT_EQ(status({{"x-api-key", "secret"}}), 200);
  for (const char* wrong :
       {"Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret"}) {
    EXPECT_EQ(status({{"Authorization", wrong}}), 401) << wrong;
  }
  EXPECT_EQ(status({{"x-api-key", "secrets"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer no"}, {"x-api-key", "secret"}}), 401);
  EXPECT_EQ(status({{"Authorization", "Bearer secret"}, {"x-api-key", "no"}}), 200);
  EXPECT_EQ(api.get("/health").status, 200);
  EXPECT_EQ(api.get("/").status, 200);
}

TEST(ApiServer, WithoutTheKeyNoBodyIsRead) {
  const TestApi api({.api_key = "secret"});
  HttpClient client = api.connect();
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n{");
  EXPECT_EQ(client.read_response().status, 401);  // though the rest never comes
}

TEST(ApiServer, WithoutAKeyAnyKeyWillDo) {
  const TestApi api;
  EXPECT_EQ(api.get("/v1/models", {{"Authorization", "Bearer whatever"}}).status, 200);
}

TEST(ApiServer, LargeBodiesAreRefused) {
  serve::ApiOptions options;
  options.http.max_body_bytes = 2000;
  const TestApi api(options);
  expect_error(api.post(ask(std::string(3000, 'a')).dump()), 413, "invalid_request_error", "2000");
  EXPECT_EQ(api.post(ask(std::string(1000, 'a'), {{"max_tokens", 1}}).dump()).status, 200);
}

struct Refusal {
  std::string body;
  int status;
  std::string message;
};

void expect_refusals(const TestApi& api, const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.body);
    expect_error(api.post(refusal.body), refusal.status, "invalid_request_error", refusal.message);
  }
}

TEST(ApiServer, BodiesThatAreNoRequestsAreRefused) {
  const TestApi api;
  expect_refusals(api, {{"", 400, "JSON"},
                        {"{", 400, "JSON, byte 1"},
                        {R"({"messages":[)"
                         "\xff",
                         400, "JSON"},
                        {"[]", 422, "must be an object"},
                        {"{}", 400, "messages: is missing"},
                        {R"({"messages":[]})", 400, "messages: is empty"},
                        {R"({"messages":{}})", 422, "messages: must be a list"},
                        {R"({"messages":["Hi"]})", 422, "messages[0]: must be an object"},
                        {R"({"messages":[{"role":"user","content":7}]})", 422, "[0].content"},
                        {R"({"messages":[{"role":"user"}]})", 400, "[0].content: is missing"},
                        {R"({"messages":[{"role":"robot","content":""}]})", 400, "'robot'"},
                        {R"({"messages":[{"role":"assistant"}]})", 400, "messages[0]"}});
}

TEST(ApiServer, WrongParametersAreRefused) {
  const TestApi api;
  const auto with_member = [](const char* members) {
    return R"({"messages":[{"role":"user","content":"Hi"}],)" + std::string(members) + "}";
  };
  expect_refusals(
      api,
      {{with_member(R"("model":7)"), 422, "model: must be a string"},
       {with_member(R"("max_tokens":0)"), 400, "max_tokens: 0 is out of range"},
       {with_member(R"("max_tokens":"9")"), 422, "max_tokens"},
       {with_member(R"("max_completion_tokens":1.5)"), 422, "max_completion_tokens"},
       {with_member(R"("temperature":2.5)"), 400, "temperature: 2.5"},
       {with_member(R"("temperature":"hot")"), 422, "temperature"},
       {with_member(R"("top_p":-1)"), 400, "top_p"},
       {with_member(R"("n":2)"), 400, "n: 2"},
       {with_member(R"("stop":5)"), 422, "stop"},
       {with_member(R"("stream":"yes")"), 422, "stream"},
       {with_member(R"("stream_options":{"include_usage":true})"), 400, "needs stream"},
       {with_member(R"("top_logprobs":3)"), 400, "needs logprobs"},
       {with_member(R"("logprobs":true,"top_logprobs":21)"), 400, "top_logprobs"},
       {with_member(R"("logit_bias":{"x":1})"), 400, "must be a token id"},
       {with_member(R"("logit_bias":{"5":101})"), 400, "out of range"},
       {with_member(R"("logit_bias":{"999999":1})"), 400, "999999"},
       {with_member(R"("response_format":{"type":"json_object"})"), 400, "\"json\""},
       {with_member(R"("response_format":{"type":"xml"})"), 400, "'xml'"},
       {with_member(R"("user_id":"a b")"), 400, "user_id"},
       {with_member(R"("reasoning_effort":"much")"), 400, "'much'"},
       {with_member(R"("tools":[{"type":"function","function":{"name":"a b"}}])"), 400, "'a b'"},
       {with_member(R"("tool_choice":{"type":"function","function":{"name":"f"}})"), 400, "'f'"},
       {with_member(R"("thinking":true)"), 422, "thinking"},
       {with_member(R"("thinking":{"type":"off"})"), 400, "thinking.type: 'off'"}});
}

TEST(ApiServer, ForcedCallsNeedThinkingSwitchedOff) {
  const TestApi api;
  const Json body = ask("Hi", with(weather_tools(), {{"tool_choice", "required"}}));
  EXPECT_EQ(error_of(api.post(body.dump()))["message"],
            "Thinking mode does not support this tool_choice");
}

TEST(ApiServer, CallsAndResultsMustPair) {
  const TestApi api;
  const std::string call =
      R"({"role":"assistant","content":"","tool_calls":[{"id":"a","type":"function",)"
      R"("function":{"name":"f","arguments":"{}"}}]})";
  const auto body = [](const std::string& messages) {
    return R"({"messages":[)" + messages + "]}";
  };
  const auto result = [](const std::string& id) {
    return R"({"role":"tool","tool_call_id":")" + id + R"(","content":"1"})";
  };
  expect_refusals(api, {{body(call), 400, "tool message"},
                        {body(result("a")), 400, "tool message"},
                        {body(call + "," + result("b")), 400, "'b'"},
                        {body(call + "," + result("a") + "," + result("a")), 400, "'a'"}});
  EXPECT_EQ(api.post(body(call + "," + result("a"))).status, 200);
}

TEST(ApiServer, ContextOverflowNamesTheNumbers) {
  const TestApi api;
  const Json error = error_of(api.post(ask("Hi", {{"max_tokens", 65536}}).dump()));
  const std::string message = error["message"];
  EXPECT_THAT(message, HasSubstr("maximum context length is 65536 tokens"));
  EXPECT_THAT(message, HasSubstr("you requested 656"));
  EXPECT_THAT(message, HasSubstr("in the messages, 65536 in the completion"));
  // A prompt that fills the context alone.
  const ClientResponse response = api.post(ask(std::string(70'000, '!')).dump());
  expect_error(response, 400, "invalid_request_error", "maximum context length is 65536 tokens");
}

TEST(ApiServer, ImagesAreRefused) {
  const TestApi api;
  expect_refusals(api, {{R"({"messages":[{"role":"user","content":[{"type":"image_url",)"
                         R"("image_url":{"url":"data:image/png;base64,AAAA"}}]}]})",
                         400, "images"},
                        {R"({"messages":[{"role":"user","content":[{"type":"file",)"
                         R"("file":{"file_id":"x"}}]}]})",
                         400, "'file'"}});
}

TEST(ApiServer, UnknownKeysAreIgnored) {
  const TestApi api;
  Json body = ask("Hi", {{"max_tokens", 1}});
  body.update({{"metadata", {{"a", 1}}},
               {"store", true},
               {"service_tier", "x"},
               {"parallel_tool_calls", false},
               {"prompt_cache_key", "k"},
               {"user", "u"},
               {"frequency_penalty", 1.5},
               {"presence_penalty", -1},
               {"logit_bias", nullptr},
               {"never_heard_of", Json::array({1})}});
  EXPECT_EQ(api.post(body.dump()).status, 200);
}

TEST(ApiServer, StrictModelsRefusesOtherNames) {
  const TestApi strict({.strict_models = true});
  const auto status = [&](const char* name) {
    return strict.post(ask("Hi", {{"model", name}, {"max_tokens", 1}}).dump()).status;
  };
  EXPECT_EQ(status("deepseek-flash"), 200);
  EXPECT_EQ(status("scripted"), 200);
  EXPECT_EQ(status("deepseek-flash[1m]"), 200);
  EXPECT_EQ(status("gpt-4"), 404);
  EXPECT_EQ(strict.post(ask("Hi", {{"max_tokens", 1}}).dump()).status, 200);
}

TEST(ApiServer, EveryAnswerAndRefusalIsLogged) {
  std::mutex mutex;
  std::vector<std::string> lines;
  serve::ApiOptions options;
  options.log = [&](const std::string& line) {
    std::lock_guard lock(mutex);
    lines.push_back(line);
  };
  {
    const TestApi api(options);
    api.chat(ask("Hi"));
    api.post(R"({"messages":[{"role":"x\ny","content":""}]})");
    api.get("/nothing");
  }
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr("answer 7, ")));
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr(R"(400: messages[0].role: 'x\x0ay')")));
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr("GET /nothing: 404: ")));
}

}  // namespace
}  // namespace lethe::testing
