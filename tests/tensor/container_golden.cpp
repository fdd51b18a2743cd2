#include <gtest/gtest.h>

#include <algorithm>

#include "golden_paths.h"
#include "tensor/gguf.h"
#include "tensor/safetensors.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

/// All model files of the golden sets except the hostile ones.
std::vector<fs::path> files_with(const std::string& extension) {
  std::vector<fs::path> found;
  for (const fs::path& root : {testing::golden_dir(), testing::shared_golden_dir()}) {
    if (!fs::exists(root)) continue;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
      const bool hostile = entry.path().string().find("hostile") != std::string::npos;
      if (entry.path().extension() == extension && !hostile) found.push_back(entry.path());
    }
  }
  return found;
}

void expect_sound(const std::vector<TensorView>& tensors, const std::vector<MappedFile>& files) {
  EXPECT_FALSE(tensors.empty());
  for (const TensorView& view : tensors) {
    const DTypeInfo& info = dtype_info(view.dtype);
    EXPECT_EQ(view.data.size(), static_cast<uint64_t>(num_elements(view.shape)) /
                                    info.block_elements * info.block_bytes)
        << view.name;
    const bool inside = std::ranges::any_of(files, [&](const MappedFile& file) {
      return file.path() == view.file && file.bytes().data() + view.offset == view.data.data();
    });
    EXPECT_TRUE(inside) << view.name;
  }
}

TEST(Containers, EverySafetensorsFileOpens) {
  const std::vector<fs::path> files = files_with(".safetensors");
  if (files.empty()) GTEST_SKIP() << "no golden models here";
  for (const fs::path& path : files) {
    SCOPED_TRACE(path);
    const SafetensorsFile file = SafetensorsFile::open(path.string());
    expect_sound(file.tensors(), file.files());
  }
}

TEST(Containers, EveryGgufOpens) {
  const std::vector<fs::path> files = files_with(".gguf");
  if (files.empty()) GTEST_SKIP() << "no golden models here";
  for (const fs::path& path : files) {
    SCOPED_TRACE(path);
    const GgufFile file = GgufFile::open(path.string());
    expect_sound(file.tensors(), file.files());
    EXPECT_NE(file.value("general.architecture"), nullptr);
  }
}

}  // namespace
}  // namespace lethe
