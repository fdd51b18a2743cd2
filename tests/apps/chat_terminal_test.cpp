#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "apps/running_program.h"
#include "apps/scripted_program.h"

namespace lethe::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kPrompt = ">>> ";
constexpr const char* kUp = "\x1b[A";
constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";

/// `lethe chat` on a terminal.
class ChatTerminal : public ::testing::Test {
 protected:
  RunningProgram::Environment environment() const {
    return {{"HOME", directory_.path().string()}, {"XDG_STATE_HOME", directory_.file("state")}};
  }
  static std::vector<std::string> arguments(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"chat", "-m", scripted_model()});
    return more;
  }
  const TemporaryDirectory directory_;
  const RunningProgram::Io terminal_ = RunningProgram::Io::terminal;
};

TEST_F(ChatTerminal, AConversation) {
  RunningProgram program(terminal_, arguments(), environment());
  EXPECT_THAT(program.read_until(kPrompt), HasSubstr("/help for help"));
  program.type("hi\r");
  EXPECT_THAT(program.read_until(kPrompt),
              HasSubstr("\x1b[2mLet me see.\x1b[0m\r\n\r\nHello, I remember.\r\n"));
  program.type(kCtrlD);
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(ChatTerminal, NoColours) {
  auto variables = environment();
  variables.emplace_back("NO_COLOR", "1");
  RunningProgram program(terminal_, arguments(), variables);
  program.read_until(kPrompt);
  program.type("hi\r");
  EXPECT_THAT(program.read_until(kPrompt),
              AllOf(HasSubstr("thinking: Let me see.\r\n\r\nHello, "), Not(HasSubstr("\x1b[2m"))));
}

TEST_F(ChatTerminal, TheArrowKeyBringsMessagesBackInLaterRunsToo) {
  const std::string history = directory_.file("state") + "/lethe/history";
  {
    RunningProgram program(terminal_, arguments(), environment());
    program.read_until(kPrompt);
    program.type("first 你好\r");
    program.read_until(kPrompt);
    program.type(std::string(kUp) + "\r");
    EXPECT_THAT(program.read_until("Hello"), HasSubstr("first 你好"));
    program.read_until(kPrompt);
    program.type("/quit\r");
    EXPECT_EQ(program.wait(), 0);
  }
  EXPECT_EQ(read_file(history), "first 你好\nfirst 你好\n/quit\n");
  EXPECT_EQ(std::filesystem::status(history).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  RunningProgram program(terminal_, arguments(), environment());
  program.read_until(kPrompt);
  program.type(std::string(kUp) + kUp + "\r");
  EXPECT_THAT(program.read_until("Hello"), HasSubstr("first 你好"));
}

TEST_F(ChatTerminal, AHistoryThatCannotBeWrittenIsNoError) {
  RunningProgram program(terminal_, arguments(), {{"XDG_STATE_HOME", "/proc"}});
  program.read_until(kPrompt);
  program.type("hi\r");
  EXPECT_THAT(program.read_until(kPrompt), Not(HasSubstr("lethe:")));
}

TEST_F(ChatTerminal, CtrlCClearsTheLine) {
  RunningProgram program(terminal_, arguments(), environment());
  program.read_until(kPrompt);
  program.type("never said");
  program.read_until("said");
  program.type(kCtrlC);
  EXPECT_THAT(program.read_until(kPrompt), Not(HasSubstr("Ctrl-D")));
  program.type(kCtrlC);
  EXPECT_THAT(program.read_until(kPrompt), HasSubstr("Ctrl-D or /quit ends."));
  program.type("/retry\r");
  EXPECT_THAT(program.read_until(kPrompt), HasSubstr("nothing has been said yet"));
  program.type(kCtrlD);
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(ChatTerminal, CtrlCStopsTheAnswer) {
  RunningProgram program(terminal_, arguments({"--think", "off", "--ignore-eos", "-n", "60000"}),
                         environment());
  program.read_until(kPrompt);
  for (int round = 0; round < 2; ++round) {
    program.type("hi\r");
    program.read_until("Once upon a");
    program.type(kCtrlC);
    EXPECT_THAT(program.read_until(kPrompt), HasSubstr("Stopped."));
  }
  program.interrupt();  // from outside, at the prompt
  program.read_until(kPrompt);
  program.type(kCtrlD);
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(ChatTerminal, WhatIsTypedWhileTheModelAnswersWaits) {
  RunningProgram program(terminal_, arguments({"--think", "off", "--ignore-eos", "-n", "600"}),
                         environment());
  program.read_until(kPrompt);
  program.type("hi\r");
  program.read_until("Once upon a");
  program.type(std::string(kCtrlD) + "/undo\r");  // there is no line that Ctrl-D could end
  program.read_until("taken back: hi");
  program.read_until(kPrompt);
  program.type(kCtrlD);
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(ChatTerminal, APasteIsOneMessage) {
  RunningProgram program(terminal_, arguments(), environment());
  const std::string saved = directory_.file("c.json");
  EXPECT_THAT(program.read_until(kPrompt), HasSubstr("\x1b[?2004h"));  // terminals then mark it
  program.type("see: \x1b[200~one\r\ttwo\rthree\x07\r\x1b[201~");
  program.read_until("three");
  program.type("\r");
  program.read_until(kPrompt);
  program.type("x\x1b\ry\r");  // Alt-Enter
  program.read_until(kPrompt);
  program.type("\"\"\"\r");
  program.read_until("... ");
  program.type("p\r");
  program.read_until("... ");
  program.type("q\r");
  program.read_until("... ");
  program.type("\"\"\"\r");
  program.read_until(kPrompt);
  program.type("/save " + saved + "\r/quit\r");
  EXPECT_EQ(program.wait(), 0);
  const std::string json = read_file(saved);
  EXPECT_THAT(json, HasSubstr(R"("see: one\n\ttwo\nthree")"));
  EXPECT_THAT(json, HasSubstr(R"("x\ny")"));
  EXPECT_THAT(json, HasSubstr(R"("p\nq")"));
}

TEST_F(ChatTerminal, AnswersCannotCommandTheTerminal) {
  const TemporaryDirectory model;
  write_scripted_checkpoint(model.path(), {.chains = {{"</think>", "a\x1b]0;title\x07z"}}});
  RunningProgram program(terminal_, {"chat", "--think", "off", "-m", model.path().string()},
                         environment());
  program.read_until(kPrompt);
  program.type("hi\r");
  EXPECT_THAT(program.read_until(kPrompt), HasSubstr("a\uFFFD]0;title\uFFFDz"));
}

}  // namespace
}  // namespace lethe::testing
