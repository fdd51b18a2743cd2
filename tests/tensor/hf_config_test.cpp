#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "golden_paths.h"
#include "tensor/model_config.h"

namespace lethe {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

json preset_json(const char* preset) {
  return json::parse(to_hf_config_json(preset_config(preset)));
}

ModelConfig parse(const json& j) {
  return parse_hf_config(j.dump(), "model/config.json");
}

/// Text of the error that parsing ends with; "" if it does not.
std::string error_of_text(const std::string& text) {
  try {
    parse_hf_config(text, "model/config.json");
  } catch (const LoadError& error) {
    return error.what();
  }
  return "";
}
std::string error_of(const json& j) {
  return error_of_text(j.dump());
}
class HfPreset : public ::testing::TestWithParam<std::string_view> {};

TEST_P(HfPreset, RoundTrips) {
  const ModelConfig preset = preset_config(GetParam());
  const std::string text = to_hf_config_json(preset);
  const ModelConfig parsed = parse_hf_config(text, "model/config.json");
  EXPECT_EQ(to_hf_config_json(parsed), text);
  EXPECT_EQ(parsed.name, "model");
  EXPECT_EQ(parsed.swiglu_limit, preset.swiglu_limit);
  EXPECT_EQ(parsed.swiglu_limit_shared, preset.swiglu_limit_shared);
  EXPECT_EQ(parsed.has_vision, preset.has_vision);
  EXPECT_THAT(parsed.unknown_fields, IsEmpty());
  EXPECT_THAT(config_faults(preset), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Presets, HfPreset, ::testing::ValuesIn(preset_names()),
                         [](const auto& tested) {
                           std::string name(tested.param);
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

/// The golden models' files, with every field the released ones have: nothing in them is unknown.
TEST(HfConfig, ReadsEveryFieldOfTheGoldenModels) {
  for (const char* model : {"v4-tiny-a", "v41-tiny-a"}) {
    const auto path = testing::golden_dir() / model / "config.json";
    if (!std::filesystem::exists(path)) continue;
    std::ifstream in(path);
    json expected = json::parse(in);
    if (expected.contains("text_config")) expected = expected["text_config"];
    const ModelConfig config = read_hf_config(path.string());
    EXPECT_EQ(config.name, model);
    EXPECT_THAT(config.unknown_fields, IsEmpty());
    EXPECT_EQ(config.vocab_size, expected["vocab_size"]);
    EXPECT_EQ(config.head_dim, expected["head_dim"]);
    EXPECT_EQ(config.rms_norm_eps, expected["rms_norm_eps"]);
    EXPECT_EQ(config.yarn.factor, expected["rope_scaling"]["factor"]);
    EXPECT_EQ(json(config.compress_ratios), expected["compress_ratios"]);
    EXPECT_EQ(config.swiglu_limit,
              std::vector<double>(expected["num_hidden_layers"], expected["swiglu_limit"]));
    EXPECT_EQ(config.fp8_block, config.family == ModelFamily::V4 ? 128 : 32);
    EXPECT_EQ(config.expert_dtype, "fp4");
  }
}

TEST(HfConfig, ListsAllFaultsAtOnce) {
  json j = preset_json("tiny");
  j.erase("hidden_size");
  j["vocab_size"] = "many";
  j["o_groups"] = 3;
  j["num_experts_per_tok"] = 9;
  j["compress_ratios"] = {0, 4, 7, 4, 128, 0};
  j["scoring_func"] = "softmax";
  j["tie_word_embeddings"] = true;
  const std::string error = error_of(j);
  EXPECT_THAT(error, HasSubstr("model/config.json"));
  EXPECT_THAT(error, HasSubstr("hidden_size: found nothing, expected an integer"));
  EXPECT_THAT(error, HasSubstr("vocab_size: found \"many\", expected an integer"));
  EXPECT_THAT(error, HasSubstr("scoring_func: found softmax, expected sqrtsoftplus"));
  EXPECT_THAT(error, HasSubstr("tie_word_embeddings: found true, expected false"));
  EXPECT_THAT(error, Not(HasSubstr("hidden_size: found 0")));
  j["hidden_size"] = 256;
  j["vocab_size"] = 320;
  const std::string relations = error_of(j);
  EXPECT_THAT(relations, HasSubstr("o_groups: found 3, expected a divisor of the 8"));
  EXPECT_THAT(relations, HasSubstr("num_experts_per_tok: found 9, expected 1 to 8"));
  EXPECT_THAT(relations, HasSubstr("compress_ratios[2]: found 7, expected 0, 4, 128"));
}

/// Every field that sizes something must be there and in range: none is filled in.
TEST(HfConfig, DemandsEveryFieldWithoutAStatedDefault) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    const json j = preset_json(preset);
    const bool nested = j.contains("text_config");
    const json& fields = nested ? j["text_config"] : j;
    for (const char* field : {"vocab_size",
                              "hidden_size",
                              "num_hidden_layers",
                              "num_nextn_predict_layers",
                              "num_attention_heads",
                              "head_dim",
                              "qk_rope_head_dim",
                              "q_lora_rank",
                              "o_groups",
                              "o_lora_rank",
                              "sliding_window",
                              "max_position_embeddings",
                              "rope_theta",
                              "compress_rope_theta",
                              "compress_ratios",
                              "index_n_heads",
                              "index_head_dim",
                              "index_topk",
                              "n_routed_experts",
                              "num_experts_per_tok",
                              "moe_intermediate_size",
                              "scoring_func",
                              "routed_scaling_factor",
                              "swiglu_limit",
                              "hc_mult",
                              "hc_sinkhorn_iters"}) {
      ASSERT_TRUE(fields.contains(field)) << field;
      json without = j;
      (nested ? without["text_config"] : without).erase(field);
      EXPECT_THAT(error_of(without), HasSubstr(std::string(field) + ": found nothing"));
    }
  }
}

TEST(HfConfig, RefusesNumbersOutOfRange) {
  for (const char* field :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "head_dim",
        "qk_rope_head_dim", "q_lora_rank", "o_groups", "o_lora_rank", "sliding_window",
        "max_position_embeddings", "n_routed_experts", "num_experts_per_tok",
        "moe_intermediate_size", "hc_mult", "hc_sinkhorn_iters", "index_n_heads", "index_head_dim",
        "index_topk"}) {
    for (const json& value : {json(0), json(-1), json(INT64_MAX), json(UINT64_MAX), json(1.5)}) {
      json j = preset_json("tiny");
      j[field] = value;
      EXPECT_THAT(error_of(j), HasSubstr(std::string(field) + ": found")) << value;
    }
  }
  for (const char* field : {"rope_theta", "rms_norm_eps", "routed_scaling_factor", "hc_eps"}) {
    for (const char* value : {"NaN", "Infinity", "-1"}) {
      json j = preset_json("tiny");
      j[field] = "@";
      std::string text = j.dump();
      text.replace(text.find("\"@\""), 3, value);
      EXPECT_THAT(error_of_text(text), HasSubstr(std::string(field) + ": found")) << value;
    }
  }
}

TEST(HfConfig, DefaultsOnlyWhatTheSpecificationStates) {
  json j = preset_json("tiny");
  for (const char* field : {"rms_norm_eps", "hc_eps", "expert_dtype", "quantization_config"}) {
    j.erase(field);
  }
  const ModelConfig config = parse(j);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.hc_eps, 1e-6);
  EXPECT_EQ(config.expert_dtype, "");
  EXPECT_EQ(config.fp8_block, 128);
  json v41 = preset_json("v4.1-tiny");
  v41["text_config"].erase("rms_norm_eps");
  EXPECT_THAT(error_of(v41), HasSubstr("text_config.rms_norm_eps: found nothing"));
}

/// Later V4 revisions: extra zeros in compress_ratios, draft fields, another epsilon.
TEST(HfConfig, ReadsLaterRevisions) {
  json j = preset_json("tiny");
  j["compress_ratios"].insert(j["compress_ratios"].end(), {0, 0, 0});
  j["rms_norm_eps"] = 1e-20;
  j["dspark_block_size"] = 5;
  j["rope_scaling"]["mscale"] = 1.0;
  j["quantization_config"]["ignored_layers"] = json::array();
  const ModelConfig config = parse(j);
  EXPECT_THAT(config.compress_ratios, ElementsAre(0, 4, 128, 4, 128, 0));
  EXPECT_EQ(config.rms_norm_eps, 1e-20);
  EXPECT_THAT(config.unknown_fields,
              ::testing::UnorderedElementsAre("dspark_block_size", "rope_scaling.mscale",
                                              "quantization_config.ignored_layers"));
  j["compress_ratios"].push_back(4);
  EXPECT_THAT(error_of(j), HasSubstr("compress_ratios[9]: found 4, expected 0 beyond"));
}

TEST(HfConfig, FillsTheRatioOfADraftBlockOnly) {
  json j = preset_json("tiny");
  j["compress_ratios"] = {0, 4, 128, 4, 128};
  EXPECT_THAT(parse(j).compress_ratios, ElementsAre(0, 4, 128, 4, 128, 0));
  j["compress_ratios"] = {0, 4, 128, 4};
  EXPECT_THAT(error_of(j), HasSubstr("compress_ratios: found 4 entries, expected 6"));
}

TEST(HfConfig, ChecksTheLayerRolesOfV41) {
  const json good = preset_json("v4.1-tiny");
  const auto with = [&good](const char* field, const json& value) {
    json j = good;
    j["text_config"][field] = value;
    return error_of(j);
  };
  EXPECT_THAT(with("kv_source_layer_ids", {4, 1}), HasSubstr("kv_source_layer_ids: found [4, 1]"));
  EXPECT_THAT(with("kv_source_layer_ids", {1, 9}), HasSubstr("layer numbers from 0 to 7"));
  EXPECT_THAT(with("kv_source_layer_ids", {1}), HasSubstr("no source for layer 4"));
  EXPECT_THAT(with("index_source_layer_ids", {1, 3, 6}), HasSubstr("no source for layer 4"));
  EXPECT_THAT(with("kv_source_layer_ids", {0, 1, 4}), HasSubstr("compress_ratios[0]: found 0"));
  EXPECT_THAT(with("candidate_source_layer_id", 6),
              HasSubstr("candidate_source_layer_id: found 6"));
  EXPECT_THAT(with("engram_num_embeddings", {100}), HasSubstr("engram_num_embeddings: found 1"));
  EXPECT_THAT(with("engram_head_dim", 48), HasSubstr("engram_head_dim: found 48"));
  EXPECT_THAT(with("engram_layer_ids", {1, 8}), HasSubstr("engram_layer_ids: found [1, 8]"));
  EXPECT_THAT(with("dspark_noise_token_id", 320), HasSubstr("dspark_noise_token_id: found 320"));
  EXPECT_THAT(with("dspark_target_layer_ids", json::array()), HasSubstr("at least one layer"));
  EXPECT_THAT(with("compress_ratios", {0, 2, 2, 2, 1, 1, 1, 1, 0, 1}),
              HasSubstr("compress_ratios[9]: found 1, expected 0 for a draft block"));
}

TEST(HfConfig, RefusesWhatIsNoV4Config) {
  EXPECT_THAT(error_of_text(R"({"model_type": "llama"})"), HasSubstr("model_type is \"llama\""));
  EXPECT_THAT(error_of_text("{}"), HasSubstr("model_type is missing"));
  EXPECT_THAT(error_of_text("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of_text("{\"a\": "), HasSubstr("not a valid config.json"));
  EXPECT_THAT(error_of_text(std::string(100000, '[')), HasSubstr("not a valid config.json"));
  EXPECT_THAT(error_of_text(std::string(17 << 20, ' ')), HasSubstr("too many"));
  EXPECT_THAT(error_of_text(R"({"dim": 256, "n_layers": 4})"), HasSubstr("inference code"));
  EXPECT_THAT(error_of_text(R"({"model_type": "deepseek_v41"})"),
              HasSubstr("text_config: found nothing"));
}

TEST(HfConfig, RefusesRopeScalingItDoesNotKnow) {
  json j = preset_json("tiny");
  j["rope_scaling"]["type"] = "linear";
  EXPECT_THAT(error_of(j), HasSubstr("rope_scaling.type: found \"linear\", expected yarn"));
  j["rope_scaling"] = nullptr;
  EXPECT_EQ(parse(j).yarn.original_max_position_embeddings, 0);
  j["rope_parameters"] = {{"rope_type", "yarn"}};
  EXPECT_THAT(error_of(j), HasSubstr("rope_parameters: found"));
}

}  // namespace
}  // namespace lethe
