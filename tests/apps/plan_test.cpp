#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/run_program.h"
#include "golden_paths.h"

namespace lethe {
namespace {

using testing::ProgramResult;
using testing::run_lethe;

TEST(Plan, DefaultTableShowsThePublishedFiguresBesideOurs) {
  const ProgramResult result = run_lethe("plan");
  EXPECT_EQ(result.exit_code, 0);
  for (const char* text :
       {"1048576 tokens", "DeepSeek-V4-Pro", "DeepSeek-V4-Flash", "DeepSeek-V4.1-Flash", "V3.2",
        "315.47", "26.5 %", "27.4 %", "27 %", "10.5 %", "7.3 %", "50.40 GB", "890.0 B"}) {
    EXPECT_NE(result.output.find(text), std::string::npos) << text;
  }
}

TEST(Plan, JsonHoldsPlainNumbers) {
  const ProgramResult result = run_lethe("plan --preset v4-flash --context 131072 --json");
  EXPECT_EQ(result.exit_code, 0);
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["context"], 131072);
  ASSERT_EQ(json["models"].size(), 2U);
  const auto& flash = json["models"][0];
  EXPECT_EQ(flash["name"], "DeepSeek-V4-Flash");
  EXPECT_EQ(flash["cache"]["bytes_per_token"], 3514.25);
  EXPECT_FALSE(flash.contains("published"));  // stated for a million tokens only
  EXPECT_EQ(json["models"][1]["name"], "V3.2");
  EXPECT_EQ(json["models"][1]["flops"]["every_mac"]["percent_of_v3.2"], 100.0);
}

TEST(Plan, ExplainsWrongOptions) {
  const ProgramResult preset = run_lethe("plan --preset v9 2>&1");
  EXPECT_EQ(preset.exit_code, 2);
  EXPECT_NE(preset.output.find("v4-flash"), std::string::npos);
  EXPECT_EQ(run_lethe("plan --context 0 2>&1").exit_code, 2);
  EXPECT_EQ(run_lethe("plan --no-such-option 2>&1").exit_code, 2);
}

// FP4 experts of the release and MXFP4 of a GGUF take the same bytes; dense weights do not.
TEST(Plan, CountsTheEncodingsOfACheckpointOnDisk) {
  const std::filesystem::path released = testing::golden_dir() / "v4-tiny-a";
  const std::filesystem::path gguf = testing::golden_dir() / "gguf/v4-tiny-a-mxfp4/model.gguf";
  if (!std::filesystem::exists(released) || !std::filesystem::exists(gguf)) GTEST_SKIP();
  const ProgramResult result =
      run_lethe("plan --json --context 1000 '" + released.string() + "' '" + gguf.string() + "'");
  ASSERT_EQ(result.exit_code, 0);
  const auto models = nlohmann::json::parse(result.output)["models"];
  ASSERT_EQ(models.size(), 3U);
  const auto bytes = [&models](size_t model, const char* part) {
    return models[model]["weights"]["by_part"][part]["bytes"].get<int64_t>();
  };
  EXPECT_EQ(bytes(0, "routed experts"), bytes(1, "routed experts"));
  EXPECT_GT(bytes(1, "attention"), bytes(0, "attention"));
  EXPECT_EQ(models[0]["macs"], models[1]["macs"]);
  EXPECT_NE(run_lethe("plan /no/such/checkpoint 2>&1").exit_code, 0);
}

TEST(Plan, NotesAContextThatTheModelIsNotMadeFor) {
  const ProgramResult result = run_lethe("plan --preset tiny --context 100000");
  EXPECT_NE(result.output.find("made for at most 65536 tokens"), std::string::npos);
}

}  // namespace
}  // namespace lethe
