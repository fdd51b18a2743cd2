#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/run_program.h"
#include "apps/running_program.h"
#include "temporary_directory.h"

namespace fs = std::filesystem;

namespace lethe {
namespace {

using testing::ProgramResult;
using testing::run_lethe;

class Synth : public ::testing::Test {
 protected:
  std::string out() const { return " --out '" + out_.string() + "'"; }

  const testing::TemporaryDirectory directory_;
  const fs::path out_ = directory_.path() / "out";
};

TEST_F(Synth, WritesOnceAndRefusesToWriteOver) {
  EXPECT_EQ(run_lethe("synth --preset tiny" + out()).exit_code, 0);
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    EXPECT_TRUE(fs::exists(out_ / name)) << name;
  }
  const ProgramResult again = run_lethe("synth --preset tiny --format gguf" + out() + " 2>&1");
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.output.find("not empty"), std::string::npos) << again.output;
  EXPECT_EQ(run_lethe("synth --preset tiny --format gguf --force" + out()).exit_code, 0);
  EXPECT_TRUE(fs::exists(out_ / "model.gguf"));
  EXPECT_TRUE(fs::exists(out_ / "mtp.gguf"));
  EXPECT_FALSE(fs::exists(out_ / "model.safetensors"));
}

TEST_F(Synth, SummaryAsJson) {
  const ProgramResult result =
      run_lethe("synth --preset tiny --layers 1 --no-draft --json" + out());
  ASSERT_EQ(result.exit_code, 0);
  const nlohmann::json summary = nlohmann::json::parse(result.output);
  EXPECT_GT(summary.at("bytes").get<int64_t>(), 0);
  EXPECT_GT(summary.at("tensors").get<int64_t>(), 0);
  ASSERT_EQ(summary.at("files").size(), 1u);
  EXPECT_TRUE(fs::exists(summary.at("files").at(0).get<std::string>()));
}

TEST_F(Synth, TakesEncodingsInAnyCaseAndRefusesOthers) {
  const std::string gguf = "synth --preset tiny --layers 1 --no-draft --format gguf" + out();
  EXPECT_EQ(run_lethe(gguf + " --expert-encoding iq2_xxs --dense-encoding Q6_K").exit_code, 0);
  EXPECT_FALSE(fs::exists(out_ / "mtp.gguf"));
  fs::remove_all(out_);
  const ProgramResult wrong = run_lethe(gguf + " --expert-encoding q9 2>&1");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.output.find("IQ2_XXS"), std::string::npos);
  EXPECT_EQ(run_lethe("synth --preset tiny --expert-encoding q4_k 2>&1" + out()).exit_code, 2);
  EXPECT_EQ(run_lethe("synth --preset v4.1-tiny --format gguf --draft 2>&1" + out()).exit_code, 2);
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(Synth, CtrlCLeavesNothing) {
  // Some 3 GB, interrupted long before they are written.
  testing::RunningProgram program(
      testing::RunningProgram::Io::pipes,
      {"synth", "--preset", "v4.1-tiny", "--engram-rows", "20000000", "--out", out_.string()});
  for (int tries = 0; tries < 12'000 && fs::is_empty(directory_.path()); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  program.interrupt();
  program.read_until("Interrupted");
  EXPECT_NE(program.wait(), 0);
  EXPECT_FALSE(fs::exists(out_));
}

}  // namespace
}  // namespace lethe
