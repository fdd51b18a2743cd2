#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "golden_paths.h"
#include "tensor/checkpoint.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

/// Golden models, wherever they lie; those that are absent are skipped.
fs::path model_path(const std::string& name) {
  const fs::path shipped = testing::golden_dir() / name;
  return fs::exists(shipped) ? shipped : testing::shared_golden_dir() / name;
}

struct Golden {
  const char* path;
  bool draft;
};

class GoldenCheckpoint : public ::testing::TestWithParam<Golden> {};

TEST_P(GoldenCheckpoint, OpensWithoutFaultsAndHoldsEveryTensor) {
  const fs::path path = model_path(GetParam().path);
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not here";
  const Checkpoint checkpoint = Checkpoint::open(path.string());
  EXPECT_EQ(checkpoint.has_draft(), GetParam().draft);
  EXPECT_THAT(checkpoint.faults(), IsEmpty());
  EXPECT_THAT(checkpoint.unexpected_tensors(), IsEmpty());
  EXPECT_THAT(checkpoint.config().unknown_fields, IsEmpty());
  for (const TensorSpec& spec : expected_tensors(checkpoint.config())) {
    const auto stored = checkpoint.find(spec.name);
    ASSERT_TRUE(stored) << spec.name;
    if (stored->cols < 0) {
      EXPECT_EQ(stored->tensor.shape, spec.shape) << spec.name;
    }
    EXPECT_FALSE(stored->tensor.data.empty()) << spec.name;
  }
  checkpoint.check_unchanged();
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenCheckpoint,
                         ::testing::Values(Golden{"v4-tiny-a", true}, Golden{"v4-tiny-b", true},
                                           Golden{"v41-tiny-a", true},
                                           Golden{"gguf/v4-tiny-a-mxfp4", true},
                                           Golden{"gguf/v4-tiny-a-exact", false},
                                           Golden{"gguf/v4-tiny-b-mxfp4", false},
                                           Golden{"gguf/kq-zoo", false}),
                         [](const auto& tested) {
                           std::string name = tested.param.path;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace lethe
