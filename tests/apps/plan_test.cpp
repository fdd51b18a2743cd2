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

TEST(Plan, SaysWhatFitsIntoAGivenMachine) {
  const ProgramResult result = run_lethe(
      "plan --preset v4-flash --context 131072 --memory-size 64GB --disk-speed 3 --json 2>&1");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["machine"]["memory_bytes"], 64'000'000'000);
  EXPECT_EQ(json["machine"]["disk_gb_s"], 3.0);
  const double read_gb_s = json["machine"]["read_gb_s"];
  const auto& here = json["models"][0]["on_this_machine"];
  EXPECT_FALSE(here["fits"]);
  EXPECT_TRUE(here["possible"]);
  EXPECT_GT(here["expert_cache_bytes"], 50'000'000'000);
  EXPECT_LT(here["expert_cache_bytes"], 60'000'000'000);
  const double share = here["resident_experts_share"];
  EXPECT_NEAR(share, 0.35, 0.03);
  const double seconds = here["memory_bytes_per_token"].get<double>() / (read_gb_s * 1e9) +
                         here["disk_bytes_per_token"].get<double>() / 3e9;
  EXPECT_NEAR(here["decode_tokens_per_s"].get<double>() * seconds, 1, 1e-6);
  EXPECT_FALSE(json["models"][1].contains("on_this_machine")) << "V3.2's weights are not known";

  const auto large = nlohmann::json::parse(
      run_lethe("plan --preset v4-flash --memory-size 256GB --no-measure --json").output);
  EXPECT_FALSE(large["machine"].contains("read_gb_s"));
  EXPECT_TRUE(large["models"][0]["on_this_machine"]["fits"]);
  EXPECT_EQ(large["models"][0]["on_this_machine"]["expert_cache_bytes"], 0);
  EXPECT_FALSE(large["models"][0]["on_this_machine"].contains("decode_tokens_per_s"));
  const auto small = nlohmann::json::parse(
      run_lethe("plan --preset v4-pro --memory-size 16GB --no-measure --json").output);
  EXPECT_FALSE(small["models"][0]["on_this_machine"]["possible"]);
}

TEST(Plan, MeasuresTheDiskOfACheckpoint) {
  const std::filesystem::path released = testing::golden_dir() / "v4-tiny-a";
  if (!std::filesystem::exists(released)) GTEST_SKIP();
  const auto json =
      nlohmann::json::parse(run_lethe("plan --json '" + released.string() + "'").output);
  EXPECT_GT(json["machine"]["disk_gb_s"], 0);
  const ProgramResult table = run_lethe("plan --memory-size 8GB '" + released.string() + "'");
  EXPECT_NE(table.output.find("On this machine: 8.00 GB of memory ("), std::string::npos);
  EXPECT_NE(table.output.find("weights fit"), std::string::npos);
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
