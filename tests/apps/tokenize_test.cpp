#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "apps/run_program.h"
#include "golden_paths.h"
#include "temporary_directory.h"

namespace lethe {
namespace {

using testing::ProgramResult;
using testing::run_lethe;
using Ids = std::vector<int>;

std::string tiny() {
  return "tokenize -m " + (testing::golden_dir() / "v41-tiny-a").string() + " ";
}

Ids ids_of(const nlohmann::json& json) {
  Ids ids;
  for (const auto& token : json["tokens"]) ids.push_back(token["id"]);
  return ids;
}

std::string joined(const Ids& ids) {
  std::string text;
  for (const int id : ids) text += std::to_string(id) + ",";
  return text;
}

TEST(Tokenize, PrintsPiecesAndTheirNumber) {
  const ProgramResult result = run_lethe(tiny() + "'the hen'");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.output.find("\"the\""), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(" tokens\n"), std::string::npos) << result.output;
  EXPECT_EQ(run_lethe(tiny() + "''").output, "0 tokens\n");
}

TEST(Tokenize, MakesSpecialTokensOnlyOnRequest) {
  const std::string text = "'<｜User｜>x'";
  const ProgramResult plain = run_lethe(tiny() + text);
  const ProgramResult parsed = run_lethe(tiny() + "--parse-special " + text);
  EXPECT_EQ(plain.output.find("added token"), std::string::npos) << plain.output;
  EXPECT_NE(parsed.output.find("added token"), std::string::npos) << parsed.output;
}

TEST(Tokenize, GoesThereAndBackThroughAFile) {
  const testing::TemporaryDirectory directory;
  const std::string text = "a\xff\x01 你好\n\n  ENGRAM";
  std::ofstream(directory.path() / "text", std::ios::binary) << text;
  const std::string file = "--file " + (directory.path() / "text").string();
  const ProgramResult result = run_lethe(tiny() + file + " --json");
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto json = nlohmann::json::parse(result.output);
  const Ids ids = ids_of(json);
  EXPECT_EQ(json["count"], ids.size());
  std::string bytes;
  for (const auto& token : json["tokens"]) {
    for (const int byte : token["bytes"]) bytes += static_cast<char>(byte);
  }
  EXPECT_EQ(bytes, text);
  EXPECT_EQ(run_lethe(tiny() + "--decode '" + joined(ids) + "'").output, text + "\n");
  EXPECT_EQ(run_lethe(tiny() + "--file - --json", "printf '%s' 'the hen' | ").exit_code, 0);
}

TEST(Tokenize, ReadsTheTokenizerOfAGguf) {
  const auto directory = testing::golden_dir() / "gguf" / "v4-tiny-a-mxfp4";
  std::ifstream in(directory / "tokenize.json");
  const auto cases = nlohmann::json::parse(in);
  ASSERT_FALSE(cases.empty());
  const testing::TemporaryDirectory room;
  for (const std::string& model : {directory.string(), (directory / "model.gguf").string()}) {
    for (const auto& row : cases) {
      std::ofstream(room.path() / "text", std::ios::binary) << row["text"].get<std::string>();
      const ProgramResult result =
          run_lethe("tokenize -m " + model + " --json --file " + (room.path() / "text").string());
      ASSERT_EQ(result.exit_code, 0) << result.output;
      EXPECT_EQ(ids_of(nlohmann::json::parse(result.output)), row["ids"].get<Ids>()) << row["text"];
    }
  }
}

TEST(Tokenize, ExplainsWrongUse) {
  const auto output = [](const std::string& arguments) {
    const ProgramResult result = run_lethe(arguments + " 2>&1");
    EXPECT_NE(result.exit_code, 0) << arguments;
    return result.output;
  };
  EXPECT_NE(output(tiny()).find("one of TEXT"), std::string::npos);
  EXPECT_NE(output(tiny() + "x --decode 3").find("one of TEXT"), std::string::npos);
  EXPECT_NE(output(tiny() + "--decode 1,x").find("\"x\""), std::string::npos);
  EXPECT_NE(output(tiny() + "--decode 99999999").find("99999999"), std::string::npos);
  EXPECT_NE(output(tiny() + "--file /nonexistent").find("/nonexistent"), std::string::npos);
  EXPECT_NE(output("tokenize -m /nonexistent x").find("/nonexistent"), std::string::npos);
  EXPECT_NE(output("tokenize -m nonexistent x").find("built-in model"), std::string::npos);
  EXPECT_EQ(run_lethe("tokenize -m /nonexistent x 2>/dev/null").exit_code, 1);
  EXPECT_EQ(run_lethe(tiny() + " 2>/dev/null").exit_code, 2);
}

}  // namespace
}  // namespace lethe
