// `lethe bench` as people run it.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "golden_paths.h"
#include "run_program.h"

namespace lethe::testing {
namespace {

using ::testing::HasSubstr;

std::string bench(const std::string& more) {
  return "bench -m " + (golden_dir() / "v4-tiny-a").string() + " " + more;
}

TEST(Bench, JsonHasAProbeAndARowForEachMeasurement) {
  const ProgramResult result =
      run_lethe(bench("--depth 0,300 --prefill 8,40 --decode 3 --repeat 3 --json 2>/dev/null"));
  ASSERT_EQ(result.exit_code, 0);
  const auto rows = nlohmann::json::parse(result.output);
  ASSERT_EQ(rows.size(), 1 + 2 * 3U);
  EXPECT_EQ(rows[0]["kind"], "probe");
  for (const char* key : {"read_gb_s", "int8_gop_s", "bf16_gflop_s"}) {
    EXPECT_GT(rows[0][key].get<double>(), 0.01) << key;
  }
  EXPECT_EQ(rows[1]["kind"], "decode");
  EXPECT_EQ(rows[3]["kind"], "prefill");
  EXPECT_EQ(rows[3]["tokens"], 40);
  EXPECT_EQ(rows[4]["depth"], 300);
  for (size_t i = 1; i < rows.size(); ++i) {
    const auto& row = rows[i];
    EXPECT_GT(row["tokens_per_s"].get<double>(), 0);
    EXPECT_LE(row["lowest_tokens_per_s"], row["tokens_per_s"]);
    EXPECT_GE(row["highest_tokens_per_s"], row["tokens_per_s"]);
    EXPECT_NEAR(row["share"].get<double>() * row["limit_tokens_per_s"].get<double>(),
                row["tokens_per_s"].get<double>(), 1e-3);
    EXPECT_GT(row["threads"], 0);
  }
  // A longer past costs more bytes and operations.
  EXPECT_GT(rows[4]["bytes_per_token"], rows[1]["bytes_per_token"]);
  EXPECT_GT(rows[4]["operations_per_token"], rows[1]["operations_per_token"]);
}

TEST(Bench, TellsOfTheExpertCache) {
  const std::string options = "--depth 10 --prefill 40 --decode 4 --repeat 2 ";
  const ProgramResult result =
      run_lethe(bench(options + "--expert-cache 500kB --json 2>/dev/null"));
  ASSERT_EQ(result.exit_code, 0);
  const auto rows = nlohmann::json::parse(result.output);
  EXPECT_GT(rows[0]["disk_gb_s"].get<double>(), 0);
  for (size_t i = 1; i < rows.size(); ++i) {
    const auto& cache = rows[i]["expert_cache"];
    EXPECT_LT(cache["slots"], cache["experts"]);
    EXPECT_GT(cache["bytes_read"], 0);
    EXPECT_GT(cache["misses"], 0);
    EXPECT_LE(cache["wait_s"], cache["seconds"]);
  }
  const ProgramResult table = run_lethe(bench(options + "--expert-cache 500kB 2>/dev/null"));
  EXPECT_THAT(table.output, HasSubstr("expert cache: "));
  EXPECT_THAT(table.output, HasSubstr("The disk gave"));
  const ProgramResult off = run_lethe(bench(options + "--json 2>/dev/null"));
  EXPECT_FALSE(nlohmann::json::parse(off.output)[1].contains("expert_cache")) << "it fits";
  EXPECT_EQ(run_lethe(bench("--expert-cache many 2>&1")).exit_code, 2);
  const ProgramResult small = run_lethe(bench("--expert-cache 1 2>&1"));
  EXPECT_EQ(small.exit_code, 1);
  EXPECT_THAT(small.output, HasSubstr("too small"));
}

TEST(Bench, TablesForPeopleAndSpreadsheets) {
  const ProgramResult table =
      run_lethe(bench("--depth 10 --prefill 0 --decode 2 --repeat 1 2>/dev/null"));
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.output, HasSubstr("GB/s"));
  EXPECT_THAT(table.output, HasSubstr("decode"));
  const ProgramResult csv =
      run_lethe(bench("--depth 10 --prefill 4 --decode 0 --repeat 1 --csv 2>/dev/null"));
  EXPECT_EQ(csv.exit_code, 0);
  EXPECT_THAT(csv.output, HasSubstr("kind,depth,tokens"));
  EXPECT_THAT(csv.output, HasSubstr("\nprefill,10,4,"));
}

TEST(Bench, TheProfileCountsExpertsOfTheCacheToo) {
  const auto bytes_of_experts = [](const std::string& more) {
    const ProgramResult result =
        run_lethe(bench("--depth 10 --prefill 8 --decode 0 --repeat 1 --profile --json " + more));
    EXPECT_EQ(result.exit_code, 0) << more;
    double bytes = 0;
    for (const auto& row : nlohmann::json::parse(result.output)) {
      for (const auto& part : row.value("parts", nlohmann::json::array())) {
        if (part["part"] == "experts") bytes = part["bytes"];
      }
    }
    return bytes;
  };
  const double mapped = bytes_of_experts("--expert-cache off 2>/dev/null");
  EXPECT_GT(mapped, 0);
  EXPECT_EQ(bytes_of_experts("--expert-cache 64MB 2>/dev/null"), mapped);
}

TEST(Bench, ReplayIsAWordOrANumber) {
  const std::string v41 = "bench -m " + (golden_dir() / "v41-tiny-a").string() +
                          " --depth 0 --prefill 120 --decode 0 --repeat 1 2>&1 --replay ";
  for (const char* value : {"exact", "all", "16"}) {
    EXPECT_EQ(run_lethe(v41 + value).exit_code, 0) << value;
  }
  for (const char* value : {"0", "none", "16x", "''"}) {
    const ProgramResult refused = run_lethe(v41 + value);
    EXPECT_EQ(refused.exit_code, 2) << value;
    EXPECT_THAT(refused.output, HasSubstr("exact, all, or a number of tokens")) << value;
  }
}

TEST(Bench, ProfileSplitsAStepIntoItsParts) {
  const ProgramResult result = run_lethe(
      bench("--depth 300 --prefill 8 --decode 2 --repeat 2 --profile --json 2>/dev/null"));
  ASSERT_EQ(result.exit_code, 0);
  const auto rows = nlohmann::json::parse(result.output);
  for (size_t i = 1; i < rows.size(); ++i) {
    double shares = 0;
    double bytes = 0;
    for (const auto& part : rows[i]["parts"]) {
      EXPECT_GT(part["ms"].get<double>(), 0) << part["part"];
      shares += part["share_of_step"].get<double>();
      bytes += part["bytes"].get<double>();
    }
    EXPECT_NEAR(shares, 1, 1e-6);
    EXPECT_GE(rows[i]["parts"].size(), 8U);
    EXPECT_GT(bytes, 0);
  }
  const ProgramResult csv =
      run_lethe(bench("--depth 10 --prefill 0 --decode 1 --repeat 1 --profile --csv 2>/dev/null"));
  EXPECT_THAT(csv.output, HasSubstr(",ms_sparse_attention,"));
}

TEST(Bench, MeasuresTheLastTokensOfTheContext) {
  const ProgramResult whole =
      run_lethe(bench("--depth 1048576 --prefill 0 --decode 2 --repeat 1 --csv 2>/dev/null"));
  EXPECT_EQ(whole.exit_code, 0);
  EXPECT_THAT(whole.output, HasSubstr("decode,1048576,2,"));
}

TEST(Bench, RefusesWhatTheModelCannotHold) {
  const ProgramResult deep = run_lethe(bench("--depth 999999999 2>&1"));
  EXPECT_NE(deep.exit_code, 0);
  EXPECT_THAT(deep.output, HasSubstr("context"));
  EXPECT_EQ(run_lethe(bench("--json --csv 2>&1")).exit_code, 2);
  EXPECT_EQ(run_lethe(bench("--depth -4 2>&1")).exit_code, 2);
  EXPECT_EQ(run_lethe(bench("--isa nonsense 2>&1")).exit_code, 2);
}

}  // namespace
}  // namespace lethe::testing
