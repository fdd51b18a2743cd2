#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "golden_paths.h"
#include "tensor/cost_model.h"

namespace lethe::model {
namespace {

using Mode = ExpertCacheChoice::Mode;

constexpr int64_t kGb = 1'000'000'000;

// 10 GB read by every token, 2 GB of tables, 100 experts of 1 GB.
MemoryNeeds example() {
  return {.dense_bytes = 10 * kGb,
          .lookup_bytes = 2 * kGb,
          .expert_bytes = 100 * kGb,
          .num_experts = 100,
          .slot_bytes = kGb,
          .experts_per_token = 4};
}

TEST(MemoryPlan, EverythingFits) {
  const MemoryPlan plan = plan_memory(example(), 200 * kGb, 5 * kGb);
  EXPECT_TRUE(plan.fits);
  EXPECT_TRUE(plan.possible);
  EXPECT_EQ(plan.resident_share(), 1.0);
}

TEST(MemoryPlan, TheCacheTakesWhatTheRestLeaves) {
  const MemoryPlan plan = plan_memory(example(), 64 * kGb, 5 * kGb);
  EXPECT_FALSE(plan.fits);
  EXPECT_TRUE(plan.possible);
  EXPECT_EQ(plan.cache_bytes, 64 * kGb - 10 * kGb - 5 * kGb - plan.margin_bytes);
  EXPECT_EQ(plan.slots, 47);  // margin: 2 GB
  EXPECT_DOUBLE_EQ(plan.resident_share(), 0.47);
}

TEST(MemoryPlan, KnowsWhatIsNotEnough) {
  const MemoryPlan plan = plan_memory(example(), 20 * kGb, 5 * kGb);
  EXPECT_FALSE(plan.possible);
  EXPECT_EQ(plan.least_cache_bytes(), 8 * kGb);
  EXPECT_EQ(plan.least_memory_bytes(), 10 * kGb + 8 * kGb + 5 * kGb + plan.margin_bytes);
  EXPECT_TRUE(plan_memory(example(), plan.least_memory_bytes() + kGb / 2, 5 * kGb).possible);
}

TEST(MemoryPlan, NeedsOfReleasedModelsAddUpToTheirWeights) {
  for (const char* preset : {"v4-flash", "v4-pro", "v4.1-flash"}) {
    const ModelConfig config = preset_config(preset);
    const MemoryNeeds needs = memory_needs(config);
    const WeightCosts costs = weight_costs(config);
    EXPECT_EQ(needs.dense_bytes + needs.lookup_bytes + needs.expert_bytes, sum(costs).bytes)
        << preset;
    EXPECT_GE(needs.slot_bytes * needs.num_experts, needs.expert_bytes);
    EXPECT_LT(static_cast<double>(needs.slot_bytes * needs.num_experts),
              1.01 * static_cast<double>(needs.expert_bytes));
    EXPECT_GT(needs.experts_per_token, 0);
  }
}

TEST(ExpertCacheChoice, ReadsSizes) {
  EXPECT_EQ(parse_expert_cache("auto").mode, Mode::automatic);
  EXPECT_EQ(parse_expert_cache("off").mode, Mode::off);
  EXPECT_EQ(parse_expert_cache("12GB").bytes, 12 * kGb);
  EXPECT_EQ(parse_expert_cache("700MiB").bytes, int64_t{700} << 20);
  EXPECT_EQ(parse_expert_cache("1g").bytes, kGb);
  EXPECT_EQ(parse_expert_cache("4096").bytes, 4096);
  for (const char* wrong : {"", "GB", "0", "-1", "12 GB", "1.5GB", "12XB", "on", "9999999999TB",
                            "99999999999999999999"}) {
    EXPECT_THROW(parse_expert_cache(wrong), UsageError) << wrong;
  }
}

TEST(ExpertCacheChoice, SmallModelsNeedNone) {
  const auto path = testing::golden_dir() / "v4-tiny-a";
  if (!std::filesystem::exists(path)) GTEST_SKIP();
  const Checkpoint checkpoint = Checkpoint::open(path.string());
  EXPECT_EQ(choose_expert_cache(checkpoint, {}), 0);
  EXPECT_EQ(choose_expert_cache(checkpoint, {.mode = Mode::fixed, .bytes = 77}), 77);
  EXPECT_EQ(choose_expert_cache(checkpoint, {.mode = Mode::automatic, .state_bytes = 1 << 20}), 0);
  EXPECT_EQ(
      choose_expert_cache(checkpoint, {.mode = Mode::automatic, .state_bytes = int64_t{1} << 55}),
      0)
      << "too much is wanted for conversations: that is not for the weights to solve";
}

}  // namespace
}  // namespace lethe::model
