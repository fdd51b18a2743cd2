// GGUF checkpoints against llama.cpp on weights expanded to F32 (tests/golden/README-gguf.md).
#include <fmt/core.h>

#include "model/v4/v4_model.h"
#include "model_fixture.h"

namespace lethe::testing {
namespace {

using ops::Numerics;

class GgufGolden : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::filesystem::path dir = golden_set("gguf/" + GetParam());
    if (dir.empty()) GTEST_SKIP() << "gguf/" << GetParam() << " is not here";
    dir_ = dir;
    golden_ = std::make_unique<GoldenFile>(dir / "logits.safetensors");
    tokens_ = golden_->tokens("tokens");
  }

  /// The one model file, or the first part of a split one.
  std::filesystem::path model_file() const {
    for (const auto& entry : std::filesystem::directory_iterator(dir_)) {
      const std::string name = entry.path().filename().string();
      if (name == "model.gguf" || name.find("-00001-of-") != std::string::npos) return entry.path();
    }
    return dir_;
  }

  std::filesystem::path dir_;
  std::unique_ptr<GoldenFile> golden_;
  std::vector<int32_t> tokens_;
};

TEST_P(GgufGolden, F32LogitsMatch) {
  const LoadedModel model(model_file(), Numerics::F32);
  const Agreement agreement = compare(model.logits(tokens_), golden_->matrix("deq_f32.logits"));
  fmt::print("relative L2 per row: median {:.2e}, worst {:.2e}; top-1 {:.4f}\n", agreement.median(),
             agreement.worst(), agreement.top1);
  EXPECT_LE(agreement.worst(), 1e-4);
  EXPECT_EQ(agreement.top1, 1.0);
}

TEST_P(GgufGolden, FastWithinTheInt8Bounds) {
  const LoadedModel model(model_file(), Numerics::Fast);
  const Agreement agreement = compare(model.logits(tokens_), golden_->matrix("deq_f32.logits"));
  fmt::print("fast: median {:.4f}, p90 {:.4f}, top-1 {:.3f}\n", agreement.median(),
             agreement.quantile(0.9), agreement.top1);
  EXPECT_LE(agreement.median(), 0.08);
  EXPECT_LE(agreement.quantile(0.9), 0.30);
  // Two points under the bound for exact weights: here every dense matrix takes int8 activations,
  // on top of the cache in served precision.
  EXPECT_GE(agreement.top1, 0.82);
}

TEST_P(GgufGolden, MtpLogitsMatchWhereThereIsADraftFile) {
  if (!std::filesystem::exists(dir_ / "mtp_logits.safetensors")) GTEST_SKIP() << "no draft file";
  const GoldenFile golden(dir_ / "mtp_logits.safetensors");
  const LoadedModel model(model_file(), Numerics::F32);
  ASSERT_TRUE(model->has_draft()) << "mtp.gguf beside the model is found by itself";
  auto& v4 = dynamic_cast<model::v4::V4Model&>(*model);
  model::SequenceState state = model->new_state();
  const model::SequenceChunk chunk{&state, tokens_, model::LogitRows::None};
  const model::ForwardResult result = model->forward({&chunk, 1}, {.keep_hidden = true});
  const ops::Matrix expected = golden.matrix("deq_f32.mtp_logits");
  const ops::Matrix hidden = first_rows(result.hidden, expected.rows());
  const ops::Matrix found = v4.mtp_forward({&state, &hidden, std::span(tokens_).subspan(1)});
  const Agreement agreement = compare(found, expected);
  fmt::print("relative L2 per row: median {:.2e}, worst {:.2e}; top-1 {:.4f}\n", agreement.median(),
             agreement.worst(), agreement.top1);
  EXPECT_LE(agreement.worst(), 1e-4);
  EXPECT_EQ(agreement.top1, 1.0);
}

std::vector<std::string> gguf_sets() {
  std::vector<std::string> names = {"kq-zoo", "v4-tiny-a-exact", "v4-tiny-a-mxfp4",
                                    "v4-tiny-b-mxfp4"};
  for (const auto& root : {golden_dir(), shared_golden_dir()}) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(root / "gguf", ignored)) {
      if (std::filesystem::exists(entry.path() / "logits.safetensors")) {
        names.push_back(entry.path().filename().string());
      }
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Sets, GgufGolden, ::testing::ValuesIn(gguf_sets()),
                         [](const auto& set) { return test_name(set.param); });

}  // namespace
}  // namespace lethe::testing
