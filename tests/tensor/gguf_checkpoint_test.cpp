#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "golden_paths.h"
#include "temporary_directory.h"
#include "tensor/checkpoint.h"
#include "tensor/gguf_copy.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// The shipped golden GGUF with its draft file, to be changed.
class GgufCheckpoint : public ::testing::Test {
 protected:
  static std::string golden(const char* file) {
    return (fs::path(LETHE_GOLDEN_DIR) / "gguf" / "v4-tiny-a-mxfp4" / file).string();
  }
  std::string path() const { return directory_.file("model.gguf"); }
  Checkpoint open() {
    model_.write(path());
    return Checkpoint::open(path());
  }
  std::string error() {
    try {
      open();
    } catch (const LoadError& error) {
      return error.what();
    }
    return "";
  }
  Checkpoint open_anyway() {
    model_.write(path());
    return Checkpoint::open(path(), {.require_all = false, .draft_file = ""});
  }

  testing::GgufCopy model_{golden("model.gguf")};
  const testing::TemporaryDirectory directory_;
};

TEST_F(GgufCheckpoint, OpensAFileADirectoryAndAPartnerDraft) {
  const Checkpoint alone = open();
  EXPECT_TRUE(alone.is_gguf());
  EXPECT_NE(alone.gguf(), nullptr);
  EXPECT_FALSE(alone.has_draft());
  EXPECT_EQ(alone.config().num_nextn_predict_layers, 0);
  EXPECT_EQ(alone.config().compress_ratios.size(), 6U);
  EXPECT_THAT(alone.config().unknown_fields, IsEmpty());

  fs::copy(golden("mtp.gguf"), directory_.file("mtp-v4.gguf"));
  const Checkpoint with_draft = Checkpoint::open(directory_.path().string());
  EXPECT_TRUE(with_draft.has_draft());
  EXPECT_EQ(with_draft.config().num_nextn_predict_layers, 1);
  EXPECT_EQ(with_draft.config().compress_ratios.size(), 7U);
  // The head's mixing weights of trunk and draft have the same name in their files.
  EXPECT_EQ(with_draft.get("hc_head_fn").tensor.name,
            with_draft.get("mtp.0.hc_head_fn").tensor.name);
  EXPECT_NE(with_draft.get("hc_head_fn").tensor.file,
            with_draft.get("mtp.0.hc_head_fn").tensor.file);
}

TEST_F(GgufCheckpoint, DividesTheJointProjectionOfADraft) {
  const Checkpoint checkpoint = Checkpoint::open(golden("model.gguf"));
  const int64_t D = checkpoint.config().hidden_size;
  const StoredWeight e = checkpoint.get("mtp.0.e_proj.weight");
  const StoredWeight h = checkpoint.get("mtp.0.h_proj.weight");
  EXPECT_EQ(e.tensor.data.data(), h.tensor.data.data());
  EXPECT_EQ(e.tensor.shape, (Shape{D, 2 * D}));
  EXPECT_EQ(e.col_begin, 0);
  EXPECT_EQ(h.col_begin, D);
  EXPECT_EQ(e.cols, D);
  EXPECT_EQ(h.cols, D);
}

TEST_F(GgufCheckpoint, SlicesStacksOfExperts) {
  const Checkpoint checkpoint = open();
  const auto& stack = model_.at("blk.3.ffn_down_exps.weight");
  const size_t bytes = stack.bytes.size() / static_cast<size_t>(stack.plan.shape[0]);
  for (size_t expert = 0; expert < 6; ++expert) {
    const StoredWeight stored =
        checkpoint.get("layers.3.ffn.experts." + std::to_string(expert) + ".w2.weight");
    EXPECT_EQ(stored.tensor.shape, (Shape{stack.plan.shape[1], stack.plan.shape[2]}));
    ASSERT_EQ(stored.tensor.data.size(), bytes);
    EXPECT_EQ(std::memcmp(stored.tensor.data.data(), stack.bytes.data() + expert * bytes, bytes),
              0);
  }
}

TEST_F(GgufCheckpoint, RefusesADraftOfAnotherModel) {
  testing::GgufCopy draft(golden("mtp.gguf"));
  draft.set("deepseek4.attention.sliding_window", int64_t{64});
  draft.write(directory_.file("mtp.gguf"));
  EXPECT_THAT(error(), HasSubstr("mtp.gguf: sliding_window: expected 128 as in the model that it "
                                 "drafts for, found 64"));
  fs::copy(golden("mtp.gguf"), directory_.file("mtp2.gguf"));
  EXPECT_THAT(error(), HasSubstr("holds 2 draft files"));
}

TEST_F(GgufCheckpoint, ADraftFileAloneIsNoModel) {
  try {
    Checkpoint::open(golden("mtp.gguf"));
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected the tensors of a model"));
  }
}

TEST_F(GgufCheckpoint, TakesTheDs4NamesOfADraft) {
  testing::GgufCopy draft(golden("mtp.gguf"));
  for (auto& tensor : draft.tensors) {
    std::string& name = tensor.plan.name;
    if (name.starts_with("output_hc_")) name = "mtp.0.hc_head" + name.substr(9);
    if (name == "blk.6.nextn.shared_head_norm.weight") name = "mtp.0.norm.weight";
    if (name.starts_with("blk.6.nextn.")) name = "mtp.0." + name.substr(12);
    if (name.starts_with("blk.6.")) name = "mtp.0." + name.substr(6);
  }
  testing::GgufCopy::Tensor both = draft.at("mtp.0.eh_proj.weight");
  draft.erase("mtp.0.eh_proj.weight");
  both.plan.shape[1] /= 2;
  both.bytes.resize(both.bytes.size() / 2);
  for (const char* name : {"mtp.0.e_proj.weight", "mtp.0.h_proj.weight"}) {
    both.plan.name = name;
    draft.tensors.push_back(both);
  }
  draft.set("deepseek4.block_count", int64_t{6});
  draft.write(directory_.file("mtp.gguf"));
  const Checkpoint checkpoint = open();
  EXPECT_TRUE(checkpoint.has_draft());
  EXPECT_THAT(checkpoint.unexpected_tensors(), IsEmpty());
  EXPECT_EQ(checkpoint.get("mtp.0.norm.weight").tensor.name, "mtp.0.norm.weight");
  EXPECT_EQ(checkpoint.get("mtp.0.h_proj.weight").cols, -1);
}

TEST_F(GgufCheckpoint, NamesFaultsOfTensors) {
  model_.erase("blk.2.attn_kv.weight");
  model_.erase("blk.4.ffn_up_exps.weight");
  model_.at("blk.1.attn_q_a.weight").plan.shape = {256, 128};
  model_.at("blk.3.exp_probs_b.bias").plan.name = "blk.3.exp_probs_b.weight";
  const Checkpoint checkpoint = open_anyway();
  EXPECT_THAT(checkpoint.faults(),
              Contains(HasSubstr("blk.2.attn_kv.weight: expected [96, 256], found nothing")));
  EXPECT_THAT(
      checkpoint.faults(),
      Contains(HasSubstr("blk.4.ffn_up_exps.weight: expected [6, 128, 256], found nothing")));
  EXPECT_THAT(checkpoint.faults(),
              Contains(HasSubstr("blk.1.attn_q_a.weight: expected a weight type and [128, 256], "
                                 "found Q8_0 [256, 128]")));
  EXPECT_THAT(checkpoint.faults(),
              Contains(HasSubstr("blk.3.exp_probs_b.bias: expected [6], found nothing")));
  EXPECT_THAT(checkpoint.unexpected_tensors(), ElementsAre("blk.3.exp_probs_b.weight"));
  EXPECT_FALSE(checkpoint.find("layers.4.ffn.experts.0.w3.weight"));
  EXPECT_TRUE(checkpoint.find("layers.4.ffn.experts.0.w1.weight"));
}

TEST_F(GgufCheckpoint, AcceptsAThreeDimensionalOutputProjection) {
  auto& tensor = model_.at("blk.0.attn_output_a.weight");
  const Shape flat = tensor.plan.shape;
  tensor.plan.shape = {2, flat[0] / 2, flat[1]};
  EXPECT_EQ(open().get("layers.0.attn.wo_a.weight").tensor.shape, flat);
}

TEST_F(GgufCheckpoint, SaysAContradictionOfExpertsOnce) {
  model_.set("deepseek4.expert_count", int64_t{60});
  const Checkpoint checkpoint = open_anyway();
  EXPECT_THAT(checkpoint.faults(), ElementsAre(HasSubstr("n_routed_experts: expected 6 as the "
                                                         "tensors say, found 60")));
}

TEST_F(GgufCheckpoint, ReadsOtherWidthsAndMissingKeysWithADefault) {
  model_.set("deepseek4.expert_feed_forward_length", std::vector<int64_t>(6, 128));
  model_.set("deepseek4.swiglu_clamp_exp", 3.0F);
  for (const char* key : {"swiglu_clamp_shexp", "vocab_size", "hyper_connection.epsilon",
                          "expert_gating_func", "expert_weights_norm", "expert_shared_count",
                          "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"}) {
    model_.erase_key(std::string("deepseek4.") + key);
  }
  model_.set("deepseek4.rope.freq_base", int64_t{10000});
  model_.set("deepseek4.nextn_predict_layers", int64_t{1});  // a hint without tensors
  model_.set("deepseek4.temperature_of_moon", 1.0F);
  const Checkpoint checkpoint = open();
  const ModelConfig& config = checkpoint.config();
  EXPECT_EQ(config.moe_intermediate_size, 128);
  EXPECT_EQ(config.swiglu_limit, std::vector<double>(6, 3.0));
  EXPECT_EQ(config.swiglu_limit_shared, config.swiglu_limit);
  EXPECT_EQ(config.vocab_size, 192);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.yarn.beta_fast, 32);
  EXPECT_EQ(config.num_nextn_predict_layers, 0);
  EXPECT_FALSE(checkpoint.has_draft());
  EXPECT_THAT(config.unknown_fields, ElementsAre("deepseek4.temperature_of_moon"));
}

TEST_F(GgufCheckpoint, ListsAllFaultsOfTheMetadata) {
  model_.erase_key("deepseek4.embedding_length");
  model_.set("deepseek4.attention.head_count", std::string("eight"));
  model_.set("deepseek4.attention.value_length", int64_t{64});
  model_.set("deepseek4.expert_gating_func", int64_t{2});
  model_.set("deepseek4.rope.scaling.type", std::string("linear"));
  model_.set("tokenizer.ggml.tokens", std::vector<int64_t>{1, 2});
  const std::string text = error();
  EXPECT_THAT(text, HasSubstr("deepseek4.embedding_length: found nothing, expected an integer"));
  EXPECT_THAT(text, HasSubstr("attention.head_count: found \"eight\", expected an integer"));
  EXPECT_THAT(text, HasSubstr("attention.value_length: found 64, expected 96"));
  EXPECT_THAT(text, HasSubstr("expert_gating_func: found 2, expected 4"));
  EXPECT_THAT(text, HasSubstr("rope.scaling.type: found \"linear\", expected yarn"));
  EXPECT_THAT(text, HasSubstr("tokens: found an array of 2 i64, expected an array of strings"));
}

TEST_F(GgufCheckpoint, RefusesAnotherArchitecture) {
  model_.set("general.architecture", std::string("llama"));
  EXPECT_THAT(error(), HasSubstr("general.architecture is \"llama\""));
  model_.set("general.architecture", std::string("dflash"));
  EXPECT_THAT(error(), HasSubstr("draft head only"));
}

TEST_F(GgufCheckpoint, ChecksTheRoutingTable) {
  auto& table = model_.at("blk.1.ffn_gate_tid2eid.weight");
  const int32_t expert = 6;
  std::memcpy(table.bytes.data() + 8, &expert, sizeof expert);
  EXPECT_THAT(error(), HasSubstr("tid2eid.weight: expected different experts from 0 to 5"));
}

TEST_F(GgufCheckpoint, ADirectoryWithTwoModelsAsksWhich) {
  model_.write(path());
  model_.write(directory_.file("other.gguf"));
  try {
    Checkpoint::open(directory_.path().string());
    FAIL();
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("holds 2 GGUF models (model.gguf, other.gguf)"));
  }
}

}  // namespace
}  // namespace lethe
