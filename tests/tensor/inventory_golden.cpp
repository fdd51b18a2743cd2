#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <vector>

#include "golden_paths.h"
#include "tensor/inventory.h"
#include "tensor/safetensors.h"

namespace fs = std::filesystem;

namespace lethe {
namespace {

/// Golden checkpoints in the released format.
std::vector<fs::path> checkpoints() {
  std::vector<fs::path> found;
  for (const fs::path& root : {testing::golden_dir(), testing::shared_golden_dir()}) {
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::directory_iterator(root)) {
      if (fs::exists(entry.path() / "config.json") &&
          fs::exists(entry.path() / "model.safetensors")) {
        found.push_back(entry.path());
      }
    }
  }
  return found;
}

void expect_inventory_equals_file(const fs::path& directory) {
  const ModelConfig config = read_hf_config((directory / "config.json").string());
  const SafetensorsFile file = SafetensorsFile::open((directory / "model.safetensors").string());
  std::map<std::string, TensorPlan> expected;
  for (const TensorSpec& spec : expected_tensors(config)) {
    for (const TensorPlan& plan : released_tensors(spec, config.fp8_block)) {
      EXPECT_TRUE(expected.emplace(plan.name, plan).second) << plan.name;
    }
  }
  for (const TensorView& tensor : file.tensors()) {
    const auto plan = expected.find(tensor.name);
    if (plan == expected.end()) {
      EXPECT_TRUE(is_ignorable_tensor(tensor.name)) << tensor.name << " was not expected";
      continue;
    }
    EXPECT_EQ(tensor.shape, plan->second.shape) << tensor.name;
    EXPECT_EQ(tensor.dtype, plan->second.dtype) << tensor.name;
    expected.erase(plan);
  }
  for (const auto& [name, plan] : expected) ADD_FAILURE() << name << " is not in the file";
}

TEST(InventoryOfGolden, EqualsTheTensorsOfEveryReleasedFile) {
  const std::vector<fs::path> directories = checkpoints();
  EXPECT_FALSE(directories.empty());
  for (const fs::path& directory : directories) {
    SCOPED_TRACE(directory.string());
    expect_inventory_equals_file(directory);
  }
}

}  // namespace
}  // namespace lethe
