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

constexpr const char* kQuiet = " 2>/dev/null";
constexpr const char* kBoth = " 2>&1";

ProgramResult run(const std::string& arguments, const std::string& prefix = "") {
  return run_lethe("run -m " + scripted_model() + " " + arguments, prefix);
}

TEST(Run, AnswersOnStdout) {
  const ProgramResult result = run("-p hi" + std::string(kQuiet));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, "Hello, I remember.\n");
}

TEST(Run, TakesThePromptAsAWordOrFromStdin) {
  EXPECT_EQ(run("hi" + std::string(kQuiet)).output, "Hello, I remember.\n");
  EXPECT_EQ(run(kQuiet, "echo hi | ").output, "Hello, I remember.\n");
}

TEST(Run, ThinkingAndFiguresGoToStderr) {
  const std::string text = run("hi 2>&1 >/dev/null").output;
  EXPECT_THAT(text, HasSubstr("Let me see.\n\n"));
  EXPECT_THAT(text, HasSubstr("lethe: prompt "));
  EXPECT_THAT(text, HasSubstr("(3 thinking)"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Run, TellsOfTheExpertCacheUnlessQuiet) {
  const ProgramResult cached = run("hi --expert-cache 300kB 2>&1 >/dev/null");
  EXPECT_EQ(cached.exit_code, 0);
  EXPECT_THAT(cached.output, HasSubstr("routed experts have a place in memory"));
  EXPECT_THAT(cached.output, HasSubstr("expert cache: "));
  EXPECT_EQ(run("hi --expert-cache 300kB -q" + std::string(kQuiet)).output, "Hello, I remember.\n");
  EXPECT_THAT(run("hi 2>&1").output, Not(HasSubstr("expert cache"))) << "it fits";
  EXPECT_EQ(run("hi --expert-cache half 2>&1").exit_code, 2);
}

TEST(Run, ThinkingCanBeHiddenOrOff) {
  EXPECT_THAT(run("hi --hide-thinking 2>&1").output,
              AllOf(Not(HasSubstr("Let me see")), HasSubstr("(3 thinking)")));
  EXPECT_THAT(run("hi --think off 2>&1").output,
              AllOf(Not(HasSubstr("Let me see")), Not(HasSubstr("thinking"))));
  EXPECT_EQ(run("hi -q --hide-thinking 2>&1").output, "Hello, I remember.\n");
}

TEST(Run, AStopStringMayLieAcrossTokens) {
  EXPECT_EQ(run("hi --stop 'o, I'" + std::string(kQuiet)).output, "Hell\n");
  EXPECT_EQ(run("hi --stop nowhere --stop ', '" + std::string(kQuiet)).output, "Hello\n");
}

TEST(Run, MaxTokensCountsThinking) {
  const ProgramResult result = run("hi --max-tokens 4 2>&1");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.output, AllOf(HasSubstr("Hello\n"), HasSubstr("; length")));
}

TEST(Run, RawContinuesTheTextAsItStands) {
  EXPECT_EQ(run("--raw 'any text'" + std::string(kQuiet)).output, "Once upon a time.\n");
  EXPECT_EQ(run("--raw x --system y" + std::string(kBoth)).exit_code, 2);
  EXPECT_EQ(run("--raw x --think on" + std::string(kBoth)).exit_code, 2);
}

TEST(Run, TheSameSeedSaysTheSame) {
  const auto say = [](const std::string& seed) {
    return run_lethe("run hi -m tiny -n 30 --ignore-eos --seed " + seed + kQuiet).output;
  };
  const std::string first = say("7");
  EXPECT_GT(first.size(), 20U);
  EXPECT_EQ(say("7"), first);
  EXPECT_NE(say("8"), first);
}

TEST(Run, TheBuiltInModelAnswersWithoutAnyOption) {
  const ProgramResult result = run_lethe("run Hello 2>&1");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("built-in model 'mini'"));
  EXPECT_THAT(result.output, HasSubstr("How can I help you?"));
}

TEST(Run, TheTinyModelSaysThatItsWordsMeanNothing) {
  EXPECT_THAT(run_lethe("run hi -m tiny -n 5 2>&1").output, HasSubstr("random weights"));
}

TEST(Run, FilesGoWithThePrompt) {
  const TemporaryDirectory directory;
  write_file(directory.file("notes.txt"), "a note");
  const auto tokens = [&](const std::string& options) {
    const std::string text = run("hi --think off " + options + kBoth).output;
    const size_t at = text.find("prompt ");
    return at == std::string::npos ? 0 : std::stol(text.substr(at + 7));
  };
  EXPECT_GT(tokens("--file " + directory.file("notes.txt")), tokens("") + 6);
  const ProgramResult missing = run("hi --file " + directory.file("none") + kBoth);
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.output, HasSubstr("none: No such file"));
}

TEST(Run, RefusesPromptsThatAreNone) {
  EXPECT_THAT(run("''" + std::string(kBoth)).output, HasSubstr("the prompt is empty"));
  EXPECT_EQ(run("''" + std::string(kQuiet)).exit_code, 2);
  EXPECT_THAT(run(kBoth, R"(printf 'a\377' | )").output, HasSubstr("not UTF-8"));
}

TEST(Run, WrongOptionsExitWith2) {
  for (const char* options : {"hi --nonsense", "hi --temperature 5", "hi --think maybe",
                              "hi --max-tokens 0", "hi --logit-bias 5", "hi there"}) {
    const ProgramResult result = run(options + std::string(kBoth));
    EXPECT_EQ(result.exit_code, 2) << options << result.output;
    EXPECT_FALSE(result.output.empty()) << options;
  }
}

TEST(Run, AModelThatIsNotThereIsNamed) {
  const ProgramResult result = run_lethe("run hi -m /nowhere/model 2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("no such file or directory"));
}

/// A copy of the checkpoint that a test may damage.
class DamagedModel : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::copy(scripted_model(), directory_.path() / "model"); }
  ProgramResult run_it() const { return run_lethe("run hi -m " + model() + " 2>&1"); }
  std::string model() const { return directory_.file("model"); }
  void expect_plain(const std::string& word) const {
    const ProgramResult result = run_it();
    EXPECT_EQ(result.exit_code, 1) << result.output;
    EXPECT_THAT(result.output, AllOf(HasSubstr("lethe: "), HasSubstr(word)));
    EXPECT_EQ(std::count(result.output.begin(), result.output.end(), '\n'), 1) << result.output;
  }
  const TemporaryDirectory directory_;
};

TEST_F(DamagedModel, WithoutATokenizer) {
  std::filesystem::remove(model() + "/tokenizer.json");
  expect_plain("tokenizer.json");
}

TEST_F(DamagedModel, OfAnotherArchitecture) {
  std::string config = read_file(model() + "/config.json");
  const std::string type = "deepseek_v41";
  size_t at = config.find(type);
  ASSERT_NE(at, std::string::npos);
  for (; at != std::string::npos; at = config.find(type)) config.replace(at, type.size(), "llama");
  write_file(model() + "/config.json", config);
  expect_plain("llama");
}

TEST_F(DamagedModel, WithWeightsCutShort) {
  std::filesystem::resize_file(model() + "/model.safetensors", 100'000);
  expect_plain("model.safetensors");
}

TEST(Run, EndsWhenNobodyReads) {
  const std::string command =
      "-p hi --think off --ignore-eos -n 60000 2>/dev/null | head -c 1; echo";
  EXPECT_EQ(run(command).output, "H\n");
}

TEST(Run, SaysWhenStdoutIsFull) {
  const ProgramResult result = run("hi --think off -n 60000 --ignore-eos 2>&1 >/dev/full");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.output, HasSubstr("No space left on device"));
}

TEST(Run, CtrlCEndsItWithItsFigures) {
  RunningProgram program(
      RunningProgram::Io::pipes,
      {"run", "-m", scripted_model(), "-p", "hi", "--think", "off", "--ignore-eos", "-n", "60000"});
  program.read_until("Once upon");
  program.interrupt();
  program.read_until("stopped by you");
  EXPECT_EQ(program.wait(), 130);
}

TEST(Run, DimsThinkingOnATerminal) {
  const std::vector<std::string> arguments = {"run", "-m", scripted_model(), "-p", "hi"};
  RunningProgram colours(RunningProgram::Io::terminal, arguments);
  EXPECT_THAT(colours.read_until("I remember."), HasSubstr("\x1b[2mLet me see.\x1b[0m"));
  RunningProgram plain(RunningProgram::Io::terminal, arguments, {{"NO_COLOR", "1"}});
  EXPECT_THAT(plain.read_until("I remember."),
              AllOf(HasSubstr("thinking: Let me see."), Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace lethe::testing
