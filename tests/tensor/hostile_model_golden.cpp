#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "golden_paths.h"
#include "tensor/checkpoint.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string file;
  std::string expect;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.file;
}

/// Every GGUF of the set: as a model none of them can be used, whether it is a good container or
/// not. (They hold a tensor or two at most.)
std::vector<Case> read_cases() {
  std::ifstream in(testing::golden_dir() / "hostile" / "cases.json");
  std::vector<Case> cases;
  if (!in) return cases;
  for (const nlohmann::json& item : nlohmann::json::parse(in)) {
    const std::string file = item.at("file");
    if (file.ends_with(".gguf")) cases.push_back({file, item.at("expect")});
  }
  return cases;
}

class HostileModel : public ::testing::TestWithParam<Case> {};

TEST_P(HostileModel, IsRefusedCleanly) {
  const std::string path = (testing::golden_dir() / "hostile" / GetParam().file).string();
  const auto start = std::chrono::steady_clock::now();
  try {
    Checkpoint::open(path);
    FAIL() << path << " was opened as a model";
  } catch (const LoadError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.rfind(path, 0), 0U) << "names no file: " << text;
    EXPECT_LT(text.size(), 20000U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(500));
}

INSTANTIATE_TEST_SUITE_P(Cases, HostileModel, ::testing::ValuesIn(read_cases()),
                         [](const auto& tested) {
                           std::string name = tested.param.file;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(HostileModel);

TEST(HostileModelSet, HoldsModelCases) {
  const std::vector<Case> cases = read_cases();
  if (cases.empty()) GTEST_SKIP() << "no hostile set here";
  EXPECT_TRUE(std::any_of(cases.begin(), cases.end(),
                          [](const Case& c) { return c.expect == "reject-model"; }));
}

}  // namespace
}  // namespace lethe
