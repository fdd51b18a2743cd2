#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "golden_tensors.h"

namespace lethe::testing {

/// The numbers n of the golden tensors "PREFIXn", ascending.
inline std::vector<int64_t> numbered(const GoldenFile& golden, const std::string& prefix) {
  std::vector<int64_t> numbers;
  for (const std::string& name : golden.names()) {
    const std::string rest = name.starts_with(prefix) ? name.substr(prefix.size()) : "";
    const bool digits =
        std::all_of(rest.begin(), rest.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (!rest.empty() && digits) numbers.push_back(std::stoll(rest));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

/// Tests that run on every V4.1 golden set. The recorded run: `ids.prefill` at once, then
/// `ids.decode` token by token (golden/README-v41.md).
class V41GoldenTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    directory_ = golden_set(GetParam());
    if (directory_.empty()) GTEST_SKIP() << GetParam() << " is not here";
    golden_ = std::make_unique<GoldenFile>(directory_ / "golden.safetensors");
    tokens_ = golden_->tokens("ids.prefill");
    prefill_ = static_cast<int64_t>(tokens_.size());
    const std::vector<int32_t> decoded = golden_->tokens("ids.decode");
    tokens_.insert(tokens_.end(), decoded.begin(), decoded.end());
  }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

  std::filesystem::path directory_;
  std::unique_ptr<GoldenFile> golden_;
  std::vector<int32_t> tokens_;
  int64_t prefill_ = 0;
};

inline std::vector<std::string> v41_golden_sets() {
  return golden_sets("v41-", "golden.safetensors", {"v41-tiny-a"});
}

#define LETHE_FOR_EACH_V41_SET(Suite)                                                    \
  INSTANTIATE_TEST_SUITE_P(Sets, Suite, ::testing::ValuesIn(testing::v41_golden_sets()), \
                           [](const auto& set) { return testing::test_name(set.param); })

}  // namespace lethe::testing
