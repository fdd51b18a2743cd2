#include "scripted_checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/model_fixture.h"
#include "temporary_directory.h"
#include "text/prompt_tokens.h"
#include "text/request_renderer.h"
#include "text/tokenizer.h"

namespace lethe::testing {
namespace {

/// The scripted checkpoint, written once.
class ScriptedCheckpoint : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory();
    write_scripted_checkpoint(directory_->path(), default_script());
  }
  static void TearDownTestSuite() { delete directory_; }

  const Tokenizer tokenizer_ = Tokenizer::load(directory_->file("tokenizer.json"));
  inline static TemporaryDirectory* directory_ = nullptr;
};

/// Greedy until the end of the sentence (which stands in the text); the margin of every token is
/// checked.
std::string complete(const LoadedModel& model, const Tokenizer& tokenizer,
                     std::vector<int32_t> tokens) {
  std::string text;
  model::SequenceState state = model->new_state();
  for (int step = 0; step < 20; ++step) {
    const ops::Matrix logits = model.logits(state, tokens);
    std::vector<float> row(logits.row(logits.rows() - 1).begin(),
                           logits.row(logits.rows() - 1).end());
    const auto best = std::ranges::max_element(row);
    const auto id = static_cast<int32_t>(best - row.begin());
    const float largest = *best;
    *best = -1e9F;
    EXPECT_GT(largest - *std::ranges::max_element(row), 100) << text;
    text += tokenizer.token_bytes(id);
    if (id == tokenizer.eos()) return text;
    tokens = {id};
  }
  return text + " ...";
}

std::vector<int32_t> prompt_of(const Tokenizer& tokenizer, const std::string& body) {
  const ChatRequest request = parse_chat_request(parse_json(body), kPromptV41);
  return encode_prompt(tokenizer, render_request(request, kPromptV41).prompt);
}

constexpr const char* kEos = "<｜end▁of▁sentence｜>";
constexpr const char* kMessages = R"("messages": [{"role": "system", "content": "Be <think> kind."},
  {"role": "user", "content": "Hello, what is the weather in Paris?\n"}])";
constexpr const char* kTools = R"("tools": [{"type": "function", "function": {"name": "get_weather",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])";

TEST_F(ScriptedCheckpoint, FollowsItsScriptInEveryNumericsMode) {
  const std::string chat = "{" + std::string(kMessages) + R"(, "thinking": {"type": "disabled"})";
  for (const char* mode : {"f32", "official", "fast"}) {
    const LoadedModel model(directory_->path(), ops::parse_numerics(mode));
    const auto answer = [&](const std::string& body) {
      const std::vector<int32_t> prompt = prompt_of(tokenizer_, body);
      return complete(model, tokenizer_, {prompt.end() - 40, prompt.end()});
    };
    EXPECT_EQ(answer(chat + "}"), std::string("Hello, I remember.") + kEos) << mode;
    EXPECT_EQ(answer("{" + std::string(kMessages) + "}"),
              std::string("Let me see.</think>Hello, I remember.") + kEos)
        << mode;
    const std::string call =
        "<｜DSML｜ invoke name=\"get_weather\">\n"
        "<｜DSML｜ parameter name=\"city\" string=\"true\">Paris</｜DSML｜ parameter>\n"
        "</｜DSML｜ invoke>\n</｜DSML｜ calls>";
    EXPECT_EQ(answer(chat + ", " + kTools + R"(, "tool_choice": "required"})"), call + kEos)
        << mode;
    EXPECT_EQ(complete(model, tokenizer_, tokenizer_.encode("any text")),
              std::string("Once upon a time.") + kEos)
        << mode;
  }
}

TEST_F(ScriptedCheckpoint, FollowsItAfterALongPrompt) {
  const LoadedModel model(directory_->path(), ops::Numerics::Fast);
  const std::vector<int32_t> prompt =
      prompt_of(tokenizer_, "{" + std::string(kMessages) + ", " + kTools + "}");
  ASSERT_GT(prompt.size(), 500U);
  EXPECT_EQ(complete(model, tokenizer_, prompt),
            std::string("Let me see.</think>Hello, I remember.") + kEos);
}

TEST_F(ScriptedCheckpoint, ItsCallIsWhatTheParserReads) {
  const std::string body = "{" + std::string(kMessages) + ", " + kTools +
                           R"(, "thinking": {"type": "disabled"}, "tool_choice": "required"})";
  const ChatRequest request = parse_chat_request(parse_json(body), kPromptV41);
  const RenderedRequest rendered = render_request(request, kPromptV41);
  const std::vector<int32_t> prompt = encode_prompt(tokenizer_, rendered.prompt);
  EXPECT_EQ(tokenizer_.token_bytes(prompt.back()), "<｜DSML｜ calls>\n");
  StreamParser parser(rendered.parser);
  std::vector<StreamEvent> events;
  const std::vector<std::string> chain = default_script().chains.back();
  for (size_t i = 1; i < chain.size(); ++i) parser.feed(chain[i], events);
  EXPECT_EQ(parser.finish(FinishReason::stop, events).reason, FinishReason::tool_calls);
  std::string name;
  std::string arguments;
  for (const StreamEvent& event : events) {
    if (event.kind == StreamEvent::Kind::call_begin) name += event.text;
    if (event.kind == StreamEvent::Kind::call_arguments) arguments += event.text;
  }
  EXPECT_EQ(name, "get_weather");
  EXPECT_EQ(parse_json(arguments), parse_json(R"({"city": "Paris"})"));
}

TEST_F(ScriptedCheckpoint, IsSmallAndAlwaysTheSame) {
  const TemporaryDirectory again;
  write_scripted_checkpoint(again.path() / "model", default_script());
  uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory_->path())) {
    const auto read = [](const std::filesystem::path& path) {
      std::ifstream in(path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(read(entry.path()) == read(again.path() / "model" / name)) << name;
    bytes += entry.file_size();
  }
  EXPECT_LT(bytes, 3'000'000U);
  const Checkpoint checkpoint = Checkpoint::open(directory_->path().string());
  EXPECT_TRUE(checkpoint.faults().empty());
  EXPECT_EQ(checkpoint.config().max_position_embeddings, 65536);
  EXPECT_FALSE(tokenizer_.is_special(tokenizer_.added_token("Hello")));
  EXPECT_TRUE(tokenizer_.is_special(*tokenizer_.eos()));
}

TEST_F(ScriptedCheckpoint, ScriptsThatContradictThemselvesAreRefused) {
  const TemporaryDirectory other;
  const auto write = [&](const Script& script) { write_scripted_checkpoint(other.path(), script); };
  EXPECT_THROW(write({.chains = {{"<think>", "a b", "c d"}, {"</think>", "a b", "e f"}}}), Error);
  EXPECT_THROW(write({.chains = {{"<think>", "a"}}}), Error);
  EXPECT_THROW(write({.chains = {{"<think>", ""}}}), Error);
  std::vector<std::string> endless = {"<think>"};
  for (int i = 0; i < 130; ++i) endless.push_back("word " + std::to_string(i));
  EXPECT_THROW(write({.chains = {endless}}), Error);
}

}  // namespace
}  // namespace lethe::testing
