#include "tensor/cost_model.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

// The expected strings are the figures printed in spec/deepseek-v4.md sections 7 and 8 and in
// spec/deepseek-v4.1.md section 5.

namespace lethe {
namespace {

constexpr int64_t kMillion = 1048576;

std::string fixed(double value, int digits) {
  return fmt::format("{:.{}f}", value, digits);
}

std::string giga_macs(const TokenMacs& macs, MacPart part) {
  return fixed(static_cast<double>(macs[part]) * 1e-9, 2);
}

struct Column {
  TokenMacs macs;
  std::array<const char*, kNumMacParts> by_part;
  const char* active_weights;
  std::array<const char*, 4> gflop;  ///< by CountingRule
};

std::vector<Column> section_8() {
  return {{token_macs(DeepseekV32{}, kMillion),
           {"11.21", "1.02", "0.03", "0.11", "24.18", "0.93", "523.99", "17.40"},
           "37.5",
           {"1157.7", "1192.5", "1196.7", "1196.7"}},
          {token_macs(preset_config("v4-pro"), kMillion),
           {"14.58", "4.09", "0.79", "0.25", "28.21", "0.93", "64.42", "38.34"},
           "48.8",  // printed 48.9 and, above, 64.43: sums and products of rounded terms
           {"303.2", "315.5", "327.6", "392.0"}},
          {token_macs(preset_config("v4-flash"), kMillion),
           {"3.33", "1.44", "0.31", "0.08", "7.57", "0.53", "45.10", "11.80"},
           "13.3",
           {"140.3", "118.8", "123.6", "168.7"}}};
}

TEST(CostModel, MacsAtAMillionTokensByPart) {
  for (const Column& column : section_8()) {
    for (int part = 0; part < kNumMacParts; ++part) {
      EXPECT_EQ(giga_macs(column.macs, static_cast<MacPart>(part)),
                column.by_part[static_cast<size_t>(part)])
          << mac_part_name(static_cast<MacPart>(part));
    }
    EXPECT_EQ(fixed(static_cast<double>(column.macs.active_weights()) * 1e-9, 1),
              column.active_weights);
  }
}

TEST(CostModel, FlopsByCountingRule) {
  for (const Column& column : section_8()) {
    for (size_t rule = 0; rule < column.gflop.size(); ++rule) {
      EXPECT_EQ(fixed(flops(column.macs, static_cast<CountingRule>(rule)) * 1e-9, 1),
                column.gflop[rule]);
    }
  }
}

TEST(CostModel, FlopsAgainstV32) {
  const std::vector<Column> columns = section_8();
  const std::array<std::array<const char*, 4>, 2> percent = {
      {{"26.2", "26.5", "27.4", "32.8"}, {"12.1", "10.0", "10.3", "14.1"}}};
  for (size_t model = 0; model < percent.size(); ++model) {
    for (size_t i = 0; i < percent[model].size(); ++i) {
      const auto rule = static_cast<CountingRule>(i);
      const double ratio = flops(columns[model + 1].macs, rule) / flops(columns[0].macs, rule);
      EXPECT_EQ(fixed(100 * ratio, 1), percent[model][i]);
    }
  }
}

/// The layers of one compression ratio alone.
double core_giga_macs(ModelConfig config, int64_t ratio) {
  config.num_hidden_layers =
      std::count(config.compress_ratios.begin(),
                 config.compress_ratios.begin() + config.num_hidden_layers, ratio);
  std::fill(config.compress_ratios.begin(), config.compress_ratios.end(), ratio);
  return static_cast<double>(token_macs(config, kMillion)[MacPart::AttentionCore]) * 1e-9;
}

TEST(CostModel, AttentionCoreByKindOfLayer) {
  const ModelConfig pro = preset_config("v4-pro");
  EXPECT_EQ(fixed(core_giga_macs(pro, 128), 2), "33.81");
  EXPECT_EQ(fixed(core_giga_macs(pro, 4), 2), "4.53");
  const ModelConfig flash = preset_config("v4-flash");
  EXPECT_NEAR(core_giga_macs(flash, 128), 10.90, 0.006);  // exactly 10.905
  EXPECT_EQ(fixed(core_giga_macs(flash, 4), 2), "0.88");
  EXPECT_EQ(fixed(core_giga_macs(flash, 0), 2), "0.02");
}

TEST(CostModel, CachePerToken) {
  const CacheCost pro = cache_cost(preset_config("v4-pro"), CacheFormat::Served);
  EXPECT_EQ(fixed(pro.entries_per_token, 1), fixed(4380.0 + 141.4375, 1));
  EXPECT_EQ(fixed(pro.index_keys_per_token, 1), "510.0");
  EXPECT_EQ(fixed(pro.per_token(), 1), "5031.4");
  const CacheCost flash = cache_cost(preset_config("v4-flash"), CacheFormat::Served);
  EXPECT_EQ(fixed(flash.entries_per_token, 2), fixed(3066.0 + 91.25, 2));
  EXPECT_EQ(fixed(flash.index_keys_per_token, 1), "357.0");
  EXPECT_DOUBLE_EQ(flash.per_token(), 3514.25);
  const CacheCost v32 = cache_cost(DeepseekV32{}, CacheFormat::Served);
  EXPECT_EQ(v32.entries_per_token, 40016);
  EXPECT_EQ(v32.index_keys_per_token, 8052);
  EXPECT_EQ(v32.per_token(), 48068);
}

TEST(CostModel, CacheOfFixedSize) {
  const CacheCost pro = cache_cost(preset_config("v4-pro"), CacheFormat::Served);
  EXPECT_EQ(fixed(static_cast<double>(pro.window) * 1e-6, 2), "4.63");
  EXPECT_NEAR(static_cast<double>(pro.pending) * 1e-6, 18, 0.6);  // "about"
  const CacheCost flash = cache_cost(preset_config("v4-flash"), CacheFormat::Served);
  EXPECT_EQ(fixed(static_cast<double>(flash.window) * 1e-6, 2), "3.29");
  EXPECT_NEAR(static_cast<double>(flash.pending) * 1e-6, 12, 0.6);
}

TEST(CostModel, CacheAtAMillionTokensAgainstV32) {
  const double v32 = cache_cost(DeepseekV32{}, CacheFormat::Served).total(kMillion);
  EXPECT_EQ(fixed(v32 * 1e-9, 2), "50.40");
  const double pro = cache_cost(preset_config("v4-pro"), CacheFormat::Served).total(kMillion);
  EXPECT_EQ(fixed(pro * 1e-9, 2), "5.28");
  EXPECT_EQ(fixed(100 * pro / v32, 2), "10.48");
  const double flash = cache_cost(preset_config("v4-flash"), CacheFormat::Served).total(kMillion);
  EXPECT_EQ(fixed(flash * 1e-9, 2), "3.69");
  EXPECT_EQ(fixed(100 * flash / v32, 2), "7.32");
}

TEST(CostModel, CacheInOtherFormats) {
  const ModelConfig pro = preset_config("v4-pro");
  const ModelConfig flash = preset_config("v4-flash");
  EXPECT_EQ(fixed(cache_cost(pro, CacheFormat::Bf16).per_token(), 0), "9848");
  EXPECT_EQ(fixed(cache_cost(flash, CacheFormat::Bf16).per_token(), 0), "6880");
  const CacheCost v32_bf16 = cache_cost(DeepseekV32{}, CacheFormat::Bf16);
  EXPECT_EQ(v32_bf16.per_token(), 85888);

  const CacheCost v32 = cache_cost(DeepseekV32{}, CacheFormat::Served);
  const auto percent = [](const CacheCost& a, double b) { return 100 * a.total(kMillion) / b; };
  const double v32_total = v32.total(kMillion);
  EXPECT_EQ(fixed(percent(cache_cost(pro, CacheFormat::Fp8IndexKeys), v32_total), 1), "11.5");
  EXPECT_EQ(fixed(percent(cache_cost(flash, CacheFormat::Fp8IndexKeys), v32_total), 1), "8.0");
  // V3.2 with bf16 latents and fp8 index keys.
  const double bf16_latents = (v32_bf16.entries_per_token + v32.index_keys_per_token) * kMillion;
  EXPECT_EQ(fixed(percent(cache_cost(pro, CacheFormat::Served), bf16_latents), 1), "6.4");
  EXPECT_EQ(fixed(percent(cache_cost(flash, CacheFormat::Served), bf16_latents), 1), "4.5");
  for (const ModelConfig& config : {pro, flash}) {
    const double gqa = gqa_cache_per_token(config.num_hidden_layers) * kMillion;
    EXPECT_EQ(fixed(percent(cache_cost(config, CacheFormat::Served), gqa), 1), "2.0");
  }
}

TEST(CostModel, V41Cache) {
  const ModelConfig config = preset_config("v4.1-flash");
  const CacheCost packed = cache_cost(config, CacheFormat::Served);
  EXPECT_EQ(packed.per_token(), 890);
  EXPECT_EQ(packed.per_token() * kMillion, 933232640);
  EXPECT_EQ(packed.window, 43 * 128 * 528);
  const CacheCost bf16 = cache_cost(config, CacheFormat::Bf16);
  EXPECT_EQ(bf16.per_token(), 3200);
  EXPECT_EQ(bf16.per_token() * kMillion, 3355443200);
}

// spec/deepseek-v4.1.md section 5: layer 20 scores every row, 24, 28, 32 and 36 only 16,384 each,
// layers 2, 8 and 14 one row per two tokens.
TEST(CostModel, V41ScoresOnlyCandidateRows) {
  const ModelConfig config = preset_config("v4.1-flash");
  const TokenMacs macs = token_macs(config, kMillion);
  EXPECT_EQ(macs[MacPart::IndexScores],
            int64_t{32} * 128 * (3 * kMillion / 2 + kMillion + 4 * 16384));
  const int64_t keys = 2 * 128 + 38 * (128 + 512);
  EXPECT_EQ(macs[MacPart::AttentionCore], int64_t{64} * 2 * 512 * keys);
}

TEST(CostModel, AShortContextCostsOnlyWhatExists) {
  const ModelConfig config = preset_config("v4-flash");
  const TokenMacs macs = token_macs(config, 1);
  EXPECT_EQ(macs[MacPart::IndexScores], 0);
  EXPECT_EQ(macs[MacPart::AttentionCore], int64_t{43} * 64 * 2 * 512);
  EXPECT_EQ(macs.active_weights(), token_macs(config, kMillion).active_weights());
  EXPECT_EQ(cache_bytes_read(config, 1), 43 * 584);
}

TEST(CostModel, ParametersAreThePublishedOnes) {
  const auto billions = [](int64_t n) { return fixed(static_cast<double>(n) * 1e-9, 0); };
  const WeightCosts costs = weight_costs(preset_config("v4-flash"));
  const WeightCost draft = costs[static_cast<size_t>(ModelPart::Draft)];
  EXPECT_EQ(billions(sum(costs).parameters - draft.parameters), "284");
  EXPECT_EQ(billions(sum(costs).active_parameters), "13");
  EXPECT_EQ(draft.active_bytes, 0);
  const WeightCosts pro = weight_costs(preset_config("v4-pro"));
  EXPECT_EQ(billions(sum(pro).active_parameters), "49");
}

TEST(CostModel, ActiveWeightsAgreeWithTheArithmetic) {
  for (const char* name : {"v4-pro", "v4-flash", "v4.1-flash"}) {
    const ModelConfig config = preset_config(name);
    const auto active = static_cast<double>(sum(weight_costs(config)).active_parameters);
    const auto macs = static_cast<double>(token_macs(config, kMillion).active_weights());
    EXPECT_NEAR(active / macs, 1.0, 0.001) << name;
  }
}

TEST(CostModel, StoredBytesAreTakenWhereGiven) {
  const ModelConfig config = preset_config("tiny");
  const WeightCosts none = weight_costs(config, [](const TensorSpec&) { return std::nullopt; });
  EXPECT_EQ(sum(none).parameters, 0);
  const WeightCosts one_byte =
      weight_costs(config, [](const TensorSpec&) -> std::optional<int64_t> { return 8; });
  const WeightCost& experts = one_byte[static_cast<size_t>(ModelPart::RoutedExperts)];
  EXPECT_EQ(experts.bytes, config.num_hidden_layers * config.n_routed_experts * 3 * 8);
  EXPECT_EQ(experts.active_bytes, config.num_hidden_layers * config.num_experts_per_tok * 3 * 8);
}

}  // namespace
}  // namespace lethe
