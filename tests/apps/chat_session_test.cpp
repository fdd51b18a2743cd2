#include "apps/chat_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <nlohmann/json.hpp>

#include "apps/answer_printer.h"
#include "apps/attachment.h"
#include "apps/line_history.h"
#include "apps/message_reader.h"
#include "apps/sampling_options.h"
#include "apps/saved_chat.h"
#include "apps/scripted_program.h"
#include "base/error.h"
#include "text/request_renderer.h"

namespace lethe::testing {
namespace {

using apps::ChatSession;
using apps::LineHistory;
using apps::LineReader;
using apps::MessageReader;
using ::testing::ElementsAre;
using ::testing::StartsWith;

ChatSession short_session() {
  ChatSession session({});
  session.add_user("one");
  session.add_answer("1", "first thought");
  session.add_user("two");
  session.add_answer("2", "");
  return session;
}

std::string prompt_of(const ChatSession& session) {
  return render_request(session.request(), kPromptV41).prompt.text();
}

TEST(ChatSession, EachPromptBeginsWithTheOneBeforeAndItsAnswer) {
  ChatSession session({});
  session.add_user("one");
  const std::string first = prompt_of(session);
  session.add_answer("1", "a thought");
  session.add_user("two");
  EXPECT_THAT(prompt_of(session), StartsWith(first + "a thought</think>1<｜end▁of▁sentence｜>"));
}

TEST(ChatSession, TakesBackAnswersAndExchanges) {
  ChatSession session = short_session();
  EXPECT_FALSE(session.awaits_answer());
  EXPECT_TRUE(session.take_back_answer());
  EXPECT_TRUE(session.awaits_answer());
  EXPECT_EQ(session.take_back_exchange(), "two");
  EXPECT_EQ(session.take_back_exchange(), "one");
  EXPECT_EQ(session.take_back_exchange(), std::nullopt);
  EXPECT_FALSE(session.take_back_answer());
  EXPECT_TRUE(session.empty());
}

TEST(ChatSession, TheSystemMessageStaysFirstAndSurvivesClear) {
  ChatSession session = short_session();
  session.set_system("a");
  session.set_system("b");
  EXPECT_EQ(session.request().messages.size(), 5U);
  EXPECT_EQ(session.system(), "b");
  session.clear();
  EXPECT_TRUE(session.empty());
  EXPECT_EQ(session.system(), "b");
  session.set_system("");
  EXPECT_TRUE(session.request().messages.empty());
}

TEST(ChatSession, ThinkingWordsAreWhatPeopleType) {
  for (const char* word : {"off", "on", "low", "high", "max", "42"}) {
    ChatRequest request;
    apps::set_thinking(request, word);
    EXPECT_EQ(apps::thinking_word(request), word);
  }
}

TEST(SavedChat, ComesBackAsItWas) {
  ChatRequest request = short_session().request();
  request.messages.front().content = Prompt::client("\"quoted\"\n<｜User｜>\t\x01 你好");
  request.stop = {"END", "\n\n"};
  request.parameters.max_tokens = 100;
  request.parameters.temperature = 0.25;
  request.parameters.top_p = 0.9;
  request.parameters.top_k = 40;
  request.parameters.min_p = 0.05;
  request.parameters.seed = -3;
  request.parameters.logit_bias = {{5, -2.5F}, {7, 1}};
  request.parameters.ignore_eos = true;
  for (const char* word : {"off", "on", "max", "42"}) {
    apps::set_thinking(request, word);
    const std::string json = apps::saved_chat_json(request, "deepseek-flash");
    const ChatRequest back = apps::parse_saved_chat(json, kPromptV41);
    EXPECT_EQ(apps::saved_chat_json(back, "deepseek-flash"), json);
    EXPECT_EQ(apps::thinking_word(back), word);
    EXPECT_EQ(back.messages[1].reasoning, "first thought");
    EXPECT_EQ(back.messages[0].content.client_text(), request.messages[0].content.text());
    EXPECT_EQ(back.parameters.logit_bias, request.parameters.logit_bias);
  }
}

TEST(SavedChat, WhatCannotBeLoadedIsNotSaved) {
  const TemporaryDirectory directory;
  ChatRequest request = short_session().request();
  request.parameters.max_tokens = 10'000'000;  // more than the API allows
  EXPECT_THROW(apps::save_chat(directory.file("c"), request, "m", kPromptV41), UsageError);
  EXPECT_FALSE(std::filesystem::exists(directory.file("c")));
}

TEST(SavedChat, ParametersOfTheFirstWin) {
  RequestParameters first;
  RequestParameters second;
  first.seed = 1;
  second.seed = 2;
  second.top_k = 3;
  const RequestParameters merged = apps::merged_parameters(first, second);
  EXPECT_EQ(merged.seed, 1);
  EXPECT_EQ(merged.top_k, 3);
}

/// Lines of a test; an empty optional is Ctrl-C.
class GivenLines : public LineReader {
 public:
  explicit GivenLines(std::deque<std::optional<std::string>> lines) : lines_(std::move(lines)) {}
  bool is_terminal() const noexcept override { return false; }
  Status read(std::string_view prompt, std::string& line) override {
    prompts += prompt;
    if (lines_.empty()) return Status::end;
    const std::optional<std::string> next = lines_.front();
    lines_.pop_front();
    line = next.value_or("");
    return next ? Status::line : Status::interrupted;
  }
  void remember(const std::string& line) override { remembered.push_back(line); }

  std::string prompts;
  std::vector<std::string> remembered;

 private:
  std::deque<std::optional<std::string>> lines_;
};

TEST(MessageReader, JoinsLines) {
  GivenLines lines({"one", "a\\", "b\\", "c", " \"\"\" ", "x", "\"\"\"\"", "\"\"\"", "  ", "d\\"});
  MessageReader reader(lines);
  MessageReader::Message message;
  for (const char* text : {"one", "a\nb\nc", "x\n\"\"\"\"", "  ", "d"}) {
    EXPECT_EQ(reader.read(message), LineReader::Status::line);
    EXPECT_EQ(message.text, text);
    EXPECT_EQ(message.is_block, message.text[0] == 'x');
  }
  EXPECT_EQ(reader.read(message), LineReader::Status::end);
  EXPECT_THAT(lines.remembered, ElementsAre("one", "a\nb\nc", "x\n\"\"\"\"", "d"));
  EXPECT_THAT(lines.prompts, StartsWith(">>> >>> ... ... >>> ... "));
}

TEST(MessageReader, CtrlCDropsTheWholeMessage) {
  GivenLines lines({"\"\"\"", "x", std::nullopt, "a\\", std::nullopt, "b"});
  MessageReader reader(lines);
  MessageReader::Message message;
  EXPECT_EQ(reader.read(message), LineReader::Status::interrupted);
  EXPECT_EQ(reader.read(message), LineReader::Status::interrupted);
  EXPECT_EQ(reader.read(message), LineReader::Status::line);
  EXPECT_EQ(message.text, "b");
}

TEST(LineHistory, KeepsEntriesInAFileForTheOwner) {
  const TemporaryDirectory directory;
  const std::string path = directory.file("a/b/history");
  LineHistory(path).add("one\ntwo \\n");
  LineHistory(path).add("你好");
  EXPECT_THAT(LineHistory(path).entries(), ElementsAre("one\ntwo \\n", "你好"));
  EXPECT_EQ(std::filesystem::status(path).permissions(), std::filesystem::perms(0600));
}

TEST(LineHistory, LongFilesAreCut) {
  const TemporaryDirectory directory;
  std::string text;
  for (size_t i = 0; i < 2 * LineHistory::kEntriesMax + 1; ++i) text += std::to_string(i) + "\n";
  write_file(directory.file("history"), text);
  const LineHistory history(directory.file("history"));
  EXPECT_EQ(history.entries().size(), LineHistory::kEntriesMax);
  EXPECT_EQ(history.entries().back(), "2000");
  EXPECT_LT(read_file(directory.file("history")).size(), text.size());
  EXPECT_EQ(std::filesystem::status(directory.file("history")).permissions(),
            std::filesystem::perms(0600));
}

TEST(LineHistory, BadFilesAreNoHistory) {
  const TemporaryDirectory directory;
  write_file(directory.file("history"), "good\n\xff\xfe\nbetter\n");
  EXPECT_THAT(LineHistory(directory.file("history")).entries(), ElementsAre("good", "better"));
  EXPECT_TRUE(LineHistory(directory.path().string()).entries().empty());
  LineHistory nowhere("/proc/nowhere/history");
  nowhere.add("x");
  EXPECT_THAT(nowhere.entries(), ElementsAre("x"));
}

TEST(Attachments, StandBeforeTheMessage) {
  EXPECT_EQ(apps::with_attachments({}, "hi"), "hi");
  EXPECT_EQ(apps::with_attachments({{"a.txt", "x"}, {"b", ""}}, "hi"),
            "[file name]: a.txt\n[file content begin]\nx\n[file content end]\n"
            "[file name]: b\n[file content begin]\n[file content end]\nhi");
}

TEST(TerminalText, ControlCharactersAreShownAsReplaced) {
  EXPECT_EQ(apps::terminal_text("a\n\tb é 你"), "a\n\tb é 你");
  EXPECT_EQ(apps::terminal_text("\x1b[2J\r\x7f"), "\uFFFD[2J\uFFFD\uFFFD");
  EXPECT_EQ(apps::terminal_text("\u009b2J\u00a0"), "\uFFFD2J\u00a0");
}

}  // namespace
}  // namespace lethe::testing
