#include "tensor/inventory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"

namespace lethe {
namespace {

struct Counts {
  int64_t tensors = 0;
  int64_t draft = 0;
  int64_t bytes = 0;
};

/// Tensors and bytes as the release stores them: weights and scales.
Counts count_released(const ModelConfig& config) {
  Counts counts;
  for (const TensorSpec& spec : expected_tensors(config)) {
    for (const TensorPlan& plan : released_tensors(spec, config.fp8_block)) {
      ++counts.tensors;
      counts.draft += spec.draft ? 1 : 0;
      int64_t bytes = dtype_info(plan.dtype).block_bytes;
      for (const int64_t dim : plan.shape) bytes *= dim;
      counts.bytes += bytes;
    }
  }
  return counts;
}

// spec/deepseek-v4.md section 2, last lines: counts of the real files.
TEST(Inventory, ProHasThePublishedNumberOfTensors) {
  EXPECT_EQ(count_released(preset_config("v4-pro")).tensors, 145116);
}

TEST(Inventory, FlashDraftHasThePublishedNumberOfTensors) {
  EXPECT_EQ(count_released(preset_config("v4-flash")).draft, 1575);
}

// spec/deepseek-v4.1.md section 2: 96,085 tensors, 510,286,023,000 bytes of tensor data, of which
// the vision tower, the aligner, the image vectors and one gate.bias_vl per block are not ours.
TEST(Inventory, V41HasThePublishedNumberOfTensorsAndBytes) {
  const ModelConfig config = preset_config("v4.1-flash");
  const int64_t vit_layers = 32;
  const int64_t w = 1024;
  const int64_t D = config.hidden_size;
  const int64_t blocks = config.num_hidden_layers + config.num_nextn_predict_layers;
  // norm1, norm2, wqkv and wo with biases, w1, w2; patch_embed with bias and norm; aligner;
  // image_*.
  const int64_t vision_tensors = vit_layers * 8 + 3 + 4 + 3;
  const int64_t vit_block = 2 * w + 3 * w * w + 3 * w + w * w + w + 5632 * w + w * 2816;
  const int64_t aligner = D * 9216 + D + D * D + D;
  const int64_t vision_elements = vit_layers * vit_block + w * 588 + w + w + aligner + 3 * D;
  const int64_t bias_vl_bytes =
      4 * (config.num_hidden_layers * config.n_routed_experts +
           config.num_nextn_predict_layers * config.dspark.n_routed_experts);

  const Counts ours = count_released(config);
  EXPECT_EQ(ours.tensors + blocks + vision_tensors, 96085);
  EXPECT_EQ(ours.bytes + bias_vl_bytes + 2 * vision_elements, 510286023000);
}

TEST(Inventory, NamesAreUniqueAndOrderedRootLayersDrafts) {
  for (const std::string_view name : preset_names()) {
    const ModelConfig config = preset_config(name);
    if (config.n_routed_experts > 8) continue;
    std::set<std::string> names;
    int64_t last = -1;
    for (const TensorSpec& spec : expected_tensors(config)) {
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
      EXPECT_EQ(spec.draft, spec.name.starts_with("mtp.")) << spec.name;
      EXPECT_EQ(spec.draft, spec.part == ModelPart::Draft) << spec.name;
      EXPECT_FALSE(is_ignorable_tensor(spec.name)) << spec.name;
      const int64_t place = spec.layer + (spec.draft ? config.num_hidden_layers : 0);
      EXPECT_GE(place, last) << spec.name;
      last = place;
    }
  }
}

TEST(Inventory, IgnoresVisionAndNothingElse) {
  for (const char* name :
       {"vision.patch_embed.proj.weight", "aligner.w1.bias", "image_start", "image_newline",
        "layers.3.ffn.gate.bias_vl", "mtp.0.ffn.gate.bias_vl"}) {
    EXPECT_TRUE(is_ignorable_tensor(name)) << name;
  }
  for (const char* name : {"embed.weight", "layers.3.ffn.gate.bias", "layers.0.attn.wq_a.scale",
                           "imaginary.weight", ""}) {
    EXPECT_FALSE(is_ignorable_tensor(name)) << name;
  }
}

TEST(Inventory, ScalesStandBesideTheirWeights) {
  EXPECT_EQ(scale_name("layers.0.attn.wq_a.weight"), "layers.0.attn.wq_a.scale");
  TensorSpec spec;
  spec.name = "x.weight";
  spec.shape = {130, 96};
  spec.kind = StorageKind::Fp8Block;
  EXPECT_EQ(released_tensors(spec, 128)[1].shape, (Shape{2, 1}));
  EXPECT_EQ(released_tensors(spec, 32)[1].shape, (Shape{5, 3}));
  spec.kind = StorageKind::Fp4Row;
  EXPECT_EQ(released_tensors(spec, 128)[0].shape, (Shape{130, 48}));
  EXPECT_EQ(released_tensors(spec, 128)[1].shape, (Shape{130, 3}));
  EXPECT_EQ(released_tensors(spec, 128)[1].name, "x.scale");
}

TEST(Presets, AnUnknownNameListsTheKnownOnes) {
  try {
    preset_config("v5");
    FAIL();
  } catch (const UsageError& error) {
    for (const std::string_view name : preset_names()) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << name;
    }
  }
}

// spec/deepseek-v4.md section 1, "Layer kinds".
TEST(Presets, LayerKindsAreThePublishedOnes) {
  const auto layers_of_ratio = [](const ModelConfig& c, int64_t ratio) {
    return std::count(c.compress_ratios.begin(), c.compress_ratios.begin() + c.num_hidden_layers,
                      ratio);
  };
  const ModelConfig pro = preset_config("v4-pro");
  EXPECT_EQ(layers_of_ratio(pro, 128), 31);
  EXPECT_EQ(layers_of_ratio(pro, 4), 30);
  const ModelConfig flash = preset_config("v4-flash");
  EXPECT_EQ(layers_of_ratio(flash, 0), 2);
  EXPECT_EQ(layers_of_ratio(flash, 4), 21);
  EXPECT_EQ(layers_of_ratio(flash, 128), 20);
  for (const ModelConfig& c : {pro, flash}) {
    EXPECT_EQ(static_cast<int64_t>(c.compress_ratios.size()), c.num_hidden_layers + 1);
    EXPECT_EQ(c.compress_ratios.back(), 0);
    EXPECT_EQ(c.compress_ratio(c.num_hidden_layers - 1), 4);
  }
}

}  // namespace
}  // namespace lethe
