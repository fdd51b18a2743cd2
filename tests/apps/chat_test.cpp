#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/running_program.h"
#include "apps/scripted_program.h"
#include "base/json_py.h"

namespace lethe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

/// Runs `lethe chat` on the script with these lines on stdin.
class Chat : public ::testing::Test {
 protected:
  ProgramResult chat(const std::string& lines, const std::string& options = "2>&1") const {
    write_file(directory_.file("lines"), lines);
    return run_lethe(
        "chat -m " + scripted_model() + " " + options + " <" + directory_.file("lines"),
        "HOME=" + directory_.path().string() + " ");
  }
  /// What is told of one command, after an exchange with the model.
  std::string told(const std::string& command) const {
    return chat("hi\n" + command + "\n", "--think off 2>&1 >/dev/null").output;
  }
  std::string file(const std::string& name) const { return directory_.file(name); }

  const TemporaryDirectory directory_;
};

TEST_F(Chat, AScriptGetsTheAnswersOnStdout) {
  const ProgramResult result = chat("hi\n\n/quit\nnever said\n", "2>/dev/null");
  EXPECT_EQ(result.output, "Hello, I remember.\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(chat("one\r\ntwo", "2>/dev/null").output, "Hello, I remember.\nHello, I remember.\n");
}

TEST_F(Chat, TellsWhatItIs) {
  EXPECT_THAT(chat("").output, AllOf(HasSubstr("DeepSeek V4.1, 0.78 M parameters), context 65536"),
                                     HasSubstr("thinking on\n"), HasSubstr("/help for help")));
  EXPECT_EQ(chat("", "-q 2>&1").output, "");
}

TEST_F(Chat, AModelThatCannotThinkBeginsWithThinkingOff) {
  const ProgramResult result = run_lethe("chat -m tiny 2>&1", "printf '/think on\n/system x\n' | ");
  EXPECT_THAT(result.output, HasSubstr("thinking off (this model cannot)"));
  EXPECT_THAT(result.output, HasSubstr("lethe: this model's tokenizer has no <｜System｜> token"));
  EXPECT_EQ(result.exit_code, 1);
}

TEST_F(Chat, EveryPromptBeginsWithTheOneBefore) {
  const std::string text =
      chat("first message\n/stats\nsecond\n/stats\n", "2>&1 >/dev/null").output;
  EXPECT_THAT(text, HasSubstr("last answer   prompt 95 tokens, "));
  // The script's own tokens are never made from a text, so that the answer counts as new here.
  EXPECT_THAT(text, HasSubstr("(95 cached)"));
  EXPECT_THAT(text, HasSubstr("answers       2: "));
  EXPECT_THAT(text, HasSubstr("of 65536 tokens\n"));
}

TEST_F(Chat, HelpListsTheCommands) {
  const std::string text = told("/help");
  for (const char* name : {"/help", "/system [TEXT|off]", "/think", "/file", "/save", "/load FILE",
                           "/stats", "/retry", "/undo", "/clear", "/quit"}) {
    EXPECT_THAT(text, HasSubstr(name));
  }
}

TEST_F(Chat, UnknownCommandsAreNotSaidToTheModel) {
  const ProgramResult result = chat("/stast\n/help me\n//stast\n", "2>&1");
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("no command /stast. There are /help"),
                    HasSubstr("/help takes no argument"), HasSubstr("Hello, I remember.\n")));
  EXPECT_EQ(result.exit_code, 1);  // a script shall notice
}

TEST_F(Chat, SystemMessages) {
  const std::string text =
      chat("/system\n/system Be kind.\n/system\nhi\n/system Be brief.\n/system off\n/system\n")
          .output;
  EXPECT_THAT(text, HasSubstr("no system message\nSystem message set.\nBe kind.\n"));
  EXPECT_THAT(text, HasSubstr("System message set. It counts from the beginning"));
  EXPECT_THAT(text, HasSubstr("System message removed."));
  EXPECT_THAT(text, MatchesRegex("(.|\n)*no system message\n"));
  EXPECT_THAT(chat("/system\n", "--system 'Be good.' 2>&1").output, HasSubstr("Be good.\n"));
}

TEST_F(Chat, Thinking) {
  const std::string text = chat(
                               "/think\n/think off\nhi\n/think 30\n/think\n/think x\n/think 200\n"
                               "/think max\nhi\n")
                               .output;
  EXPECT_THAT(text, HasSubstr("thinking: on\nthinking: off\nHello"));
  EXPECT_THAT(text, HasSubstr("thinking: 30\nthinking: 30\n"));
  EXPECT_THAT(text, HasSubstr("thinking 'x': it is off, on"));
  EXPECT_THAT(text, HasSubstr("200 is out of range"));
  EXPECT_THAT(text, HasSubstr("thinking: max\nLet me see."));
  EXPECT_THAT(chat("hi\n", "--hide-thinking 2>&1").output, Not(HasSubstr("Let me see.")));
}

TEST_F(Chat, FilesGoWithTheNextMessage) {
  write_file(file("notes.txt"), "A note.\n");
  write_file(file("latin1.txt"), "caf\xe9");
  write_file(file("zeros.bin"), std::string("a\0b", 3));
  const std::string text =
      chat("/file\n/file " + file("notes.txt") + "\n/file ~/notes.txt\n/file\n" +
           "hi\n/file\n/save " + file("c.json") + "\n")
          .output;
  EXPECT_THAT(text,
              HasSubstr("no files wait for the next message\nnotes.txt: 7 tokens, 8 B; goes"));
  EXPECT_THAT(text, HasSubstr("\nnotes.txt\nnotes.txt\n"));
  EXPECT_THAT(text, HasSubstr("remember.\nno files wait"));
  const std::string part =
      "[file name]: notes.txt\n[file content begin]\nA note.\n[file content end]\n";
  EXPECT_EQ(parse_json(read_file(file("c.json")))["messages"][0]["content"], part + part + "hi");
  EXPECT_THAT(chat("/file ~/notes.txt\n/file off\n").output, HasSubstr("no files wait"));
  EXPECT_THAT(told("/file " + file("none")), HasSubstr("none: No such file"));
  EXPECT_THAT(told("/file " + directory_.path().string()), HasSubstr("is a folder"));
  EXPECT_THAT(told("/file " + file("latin1.txt")), HasSubstr("not UTF-8 text: byte 3 is 0xe9"));
  EXPECT_THAT(told("/file " + file("zeros.bin")), HasSubstr("no text file"));
  EXPECT_THAT(told("/file /dev/zero"), HasSubstr("no regular file"));
  EXPECT_EQ(chat("", "--file " + file("none") + " 2>&1").exit_code, 2);
}

TEST_F(Chat, SavedConversationsGoOn) {
  chat("/system Be kind.\n/think max\nhi\n/save " + file("c.json") + "\n", "--seed 5 2>&1");
  const Json saved = parse_json(read_file(file("c.json")));
  ASSERT_EQ(saved["messages"].size(), 3U);
  EXPECT_EQ(saved["messages"][2]["reasoning_content"], "Let me see.");
  EXPECT_EQ(saved["messages"][2]["content"], "Hello, I remember.");
  EXPECT_EQ(saved["reasoning_effort"], "max");
  EXPECT_EQ(saved["seed"], 5);
  const std::string again =
      chat("/load " + file("c.json") + "\n/system\n/think\n/save " + file("d.json") + "\n").output;
  EXPECT_THAT(again, HasSubstr("(3 messages), thinking: max\nBe kind.\nthinking: max\n"));
  EXPECT_EQ(read_file(file("d.json")), read_file(file("c.json")));
  EXPECT_THAT(chat("more\n/save\n", "--load " + file("c.json") + " 2>&1").output,
              HasSubstr("/save FILE: name a file"));
  EXPECT_THAT(chat("", "--load " + file("c.json") + " 2>&1").output,
              HasSubstr("The conversation goes on after 3 messages."));
}

TEST_F(Chat, SavingLeavesOtherFilesAlone) {
  write_file(file("main.cpp"), "int main() {}\n");
  EXPECT_THAT(told("/save " + file("main.cpp")), HasSubstr("is no saved conversation"));
  EXPECT_EQ(read_file(file("main.cpp")), "int main() {}\n");
  EXPECT_THAT(told("/save " + file("c.json") + "\n/save\n/save"), Not(HasSubstr("lethe:")));
  EXPECT_THAT(told("/save /nowhere/c.json"), HasSubstr("/nowhere"));
  EXPECT_THAT(chat("/save " + file("e.json") + "\n").output, HasSubstr("nothing has been said"));
}

TEST_F(Chat, BadFilesLeaveTheConversationAsItWas) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "JSON"},
      {"{\"messages\": [", "JSON"},
      {"[]", "request body"},
      {"{}", "messages: is missing"},
      {R"({"messages": []})", "messages: is empty"},
      {R"({"messages": [{"role": "robot", "content": "x"}]})", "messages[0].role: 'robot'"},
      {R"({"messages": [{"role": "user", "content": 5}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": "x"}], "temperature": 9})", "temperature"},
      {R"({"messages": [{"role": "user", "content": "x"}], "reasoning_effort": 500})", "500"},
      {R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function",
          "function": {"name": "f"}}]})",
       "chat cannot run them"},
  };
  std::string lines = "hi\n";
  for (size_t i = 0; i < bad.size(); ++i) {
    write_file(file(std::to_string(i)), bad[i].first);
    lines += "/load " + file(std::to_string(i)) + "\n";
  }
  const std::string text =
      chat(lines + "/load\n/load " + file("none") + "\n/save " + file("c.json") + "\n").output;
  for (const auto& [json, message] : bad) EXPECT_THAT(text, HasSubstr(message)) << json;
  EXPECT_THAT(text, AllOf(HasSubstr("none: No such file"), HasSubstr("(2 messages)")));
  EXPECT_EQ(chat("", "--load " + file("0") + " 2>&1").exit_code, 2);
}

TEST_F(Chat, AConversationWithoutItsLastAnswerIsLoaded) {
  write_file(file("q.json"), R"({"messages": [{"role": "user", "content": "x"}]})");
  EXPECT_THAT(chat("/load " + file("q.json") + "\n/retry\n").output,
              AllOf(HasSubstr("/retry gives one"), HasSubstr("Hello, I remember.")));
}

TEST_F(Chat, UndoRetryAndClear) {
  EXPECT_THAT(chat("/undo\n/retry\n").output,
              AllOf(HasSubstr("/undo: nothing has been said yet"),
                    HasSubstr("/retry: nothing has been said yet")));
  EXPECT_THAT(told("/undo\n/save " + file("c.json")),
              AllOf(HasSubstr("taken back: hi\n"), HasSubstr("nothing has been said yet")));
  told("/retry\n/save " + file("r.json"));
  EXPECT_EQ(parse_json(read_file(file("r.json")))["messages"].size(), 2U);
  told("/system Be kind.\n/clear\nagain\n/save " + file("d.json"));
  const Json saved = parse_json(read_file(file("d.json")));
  ASSERT_EQ(saved["messages"].size(), 3U);
  EXPECT_EQ(saved["messages"][1]["content"], "again");
}

TEST_F(Chat, MessagesOfSeveralLines) {
  chat("one\\\ntwo\n\"\"\"\n/three\n\n  four\\\n\"\"\"\n/save " + file("c.json") + "\n");
  const Json messages = parse_json(read_file(file("c.json")))["messages"];
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[0]["content"], "one\ntwo");
  EXPECT_EQ(messages[2]["content"], "/three\n\n  four\\");
}

TEST_F(Chat, AContextThatIsFullSaysWhatToDo) {
  write_file(file("long.txt"), std::string(70'000, 'x'));
  const ProgramResult result = chat("hi\n/file ~/long.txt\nread\n/clear\nhi\n/stats\n");
  EXPECT_THAT(result.output, HasSubstr("Make room with /undo"));
  EXPECT_THAT(result.output, HasSubstr("/file off drops the files"));
  EXPECT_THAT(result.output, HasSubstr("answers       2: "));
}

TEST_F(Chat, TextThatIsNotUtf8IsRefusedAndTheSessionGoesOn) {
  const ProgramResult result = chat("caf\xe9\nhi\n");
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("the message is not UTF-8"), HasSubstr("Hello, I remember.\n")));
}

TEST_F(Chat, AnEndlessThoughtIsNoAnswer) {
  const TemporaryDirectory model;
  write_scripted_checkpoint(model.path(), {.chains = {{"<think>", "hm ", "hm "}}});
  const ProgramResult result =
      run_lethe("chat -n 20 -m " + model.path().string() + " 2>&1",
                "printf 'hi\n/undo\n/retry\n/save " + file("c.json") + "\n' | ");
  EXPECT_THAT(result.output, HasSubstr("hm hm"));
  EXPECT_THAT(result.output, HasSubstr("No answer (the limit of tokens came first)."));
  EXPECT_THAT(result.output, HasSubstr("/undo: nothing has been said yet"));
  EXPECT_FALSE(std::filesystem::exists(file("c.json")));
}

TEST_F(Chat, CtrlCStopsTheAnswerNotTheProgram) {
  RunningProgram program(RunningProgram::Io::pipes, {"chat", "-m", scripted_model(), "--think",
                                                     "off", "--ignore-eos", "-n", "60000"});
  program.type("hi\n");
  program.read_until("Once upon a");
  program.interrupt();
  program.read_until("Stopped.");
  program.type("again\n");
  program.read_until("Once upon a");
  program.interrupt();
  program.read_until("Stopped.");
  program.type("/save " + file("c.json") + "\n/quit\n");
  EXPECT_EQ(program.wait(), 0);
  const Json messages = parse_json(read_file(file("c.json")))["messages"];
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_THAT(messages[1]["content"].get<std::string>(), HasSubstr("Once upon a"));
}

}  // namespace
}  // namespace lethe::testing
