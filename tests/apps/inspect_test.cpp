#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/run_program.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using testing::ProgramResult;
using testing::run_lethe;

std::string golden(const char* model) {
  return (fs::path(LETHE_GOLDEN_DIR) / model).string();
}

TEST(Inspect, ShowsPartsAndSaysThatTheModelCanBeUsed) {
  const ProgramResult result = run_lethe("inspect --check " + golden("v4-tiny-a") + " 2>&1");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (const char* text : {"DeepSeek V4\n", "6: 1 window only, 3 of ratio 4, 2 of ratio 128",
                           "1 MTP block", "routed experts", "FP4 (row scales)",
                           "Every weight is a number.", "This model can be used."}) {
    EXPECT_NE(result.output.find(text), std::string::npos) << text << "\n" << result.output;
  }
}

TEST(Inspect, JsonAccountsForEveryByteOfTheFile) {
  const ProgramResult result = run_lethe("inspect --json --tensors " + golden("v4-tiny-a"));
  ASSERT_EQ(result.exit_code, 0);
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_TRUE(json["usable"]);
  EXPECT_EQ(json["family"], "v4");
  EXPECT_EQ(json["format"], "safetensors");
  EXPECT_TRUE(json["faults"].empty());
  std::ifstream file(golden("v4-tiny-a/model.safetensors"), std::ios::binary);
  uint64_t header = 0;
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  EXPECT_EQ(json["weights"]["bytes"].get<uint64_t>() + header + 8,
            json["files"][0]["bytes"].get<uint64_t>());
  int64_t bytes = 0;
  for (const auto& tensor : json["tensors"]) bytes += tensor["bytes"].get<int64_t>();
  EXPECT_EQ(json["weights"]["bytes"], bytes);
  int64_t of_parts = 0;
  for (const auto& part : json["weights"]["by_part"]) of_parts += part["bytes"].get<int64_t>();
  EXPECT_EQ(of_parts, bytes);
}

TEST(Inspect, ReadsAGgufAndItsDraft) {
  const ProgramResult result = run_lethe("inspect --json " + golden("gguf/v4-tiny-a-mxfp4"));
  ASSERT_EQ(result.exit_code, 0);
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["format"], "gguf");
  EXPECT_EQ(json["draft_blocks"], 1);
  EXPECT_EQ(json["files"].size(), 2U);
  EXPECT_EQ(json["tokenizer"], "in the GGUF");
}

TEST(Inspect, ExitsWithOneOnFaults) {
  const testing::TemporaryDirectory directory;
  nlohmann::json config;
  std::ifstream(golden("v4-tiny-a/config.json")) >> config;
  config["moe_intermediate_size"] = 2 * config["moe_intermediate_size"].get<int>();
  std::ofstream(directory.file("config.json")) << config;
  fs::copy(golden("v4-tiny-a/model.safetensors"), directory.file("model.safetensors"));
  const ProgramResult result = run_lethe("inspect " + directory.path().string() + " 2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("ffn.experts.0.w1.weight: expected I8 ["), std::string::npos);
  EXPECT_NE(result.output.find("This model cannot be used."), std::string::npos);
  const ProgramResult json =
      run_lethe("inspect --json " + directory.path().string() + " 2>/dev/null");
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_FALSE(nlohmann::json::parse(json.output)["usable"]);
}

/// A scale byte of 255 means NaN: only reading the weights shows it.
TEST(Inspect, CheckFindsANan) {
  const testing::TemporaryDirectory directory;
  fs::copy(golden("v4-tiny-a"), directory.path(), fs::copy_options::recursive);
  const std::string path = directory.file("model.safetensors");
  fs::permissions(path, fs::perms::owner_all);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  std::string header(header_bytes, ' ');
  file.read(header.data(), static_cast<std::streamsize>(header_bytes));
  const auto entries = nlohmann::json::parse(header);
  const auto begin = entries["layers.0.attn.wq_a.scale"]["data_offsets"][0].get<uint64_t>();
  file.seekp(static_cast<std::streamoff>(8 + header_bytes + begin));
  file.put('\xff');
  file.close();
  EXPECT_EQ(run_lethe("inspect " + directory.path().string()).exit_code, 0);
  const ProgramResult result = run_lethe("inspect --check " + directory.path().string() + " 2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("layers.0.attn.wq_a.weight: expected numbers, found a NaN"),
            std::string::npos)
      << result.output;
}

TEST(Inspect, ExplainsWhatIsNoModel) {
  EXPECT_EQ(run_lethe("inspect 2>&1").exit_code, 2);
  const ProgramResult result = run_lethe("inspect /no/such/model 2>&1");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.output.find("no such file or directory"), std::string::npos);
}

}  // namespace
}  // namespace lethe
