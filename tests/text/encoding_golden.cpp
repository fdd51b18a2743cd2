#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "text/golden_rows.h"

namespace lethe::testing {
namespace {

std::vector<std::string> encoding_files() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(LETHE_GOLDEN_DIR "/encoding")) {
    if (entry.path().extension() == ".jsonl") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class EncodingGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(EncodingGolden, EveryRow) {
  const auto rows = read_golden_rows(GetParam());
  ASSERT_FALSE(rows.empty());
  for (const auto& [id, row] : rows) {
    const auto fault = check_encoding_row(row);
    EXPECT_FALSE(fault.has_value()) << id << ": " << *fault;
  }
}

INSTANTIATE_TEST_SUITE_P(Files, EncodingGolden, ::testing::ValuesIn(encoding_files()),
                         [](const auto& param) {
                           return std::filesystem::path(param.param).stem().string();
                         });

}  // namespace
}  // namespace lethe::testing
