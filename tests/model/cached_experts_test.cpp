// A model with an expert cache gives the bits of the same model without one.
#include <gtest/gtest.h>

#include "base/error.h"
#include "golden_paths.h"
#include "model/memory_plan.h"
#include "model/synth/synth_checkpoint.h"
#include "model/v4/v4_model.h"
#include "model/v41/v41_model.h"
#include "model_fixture.h"
#include "temporary_directory.h"

namespace lethe::testing {
namespace {

using ops::Numerics;

std::vector<int32_t> some_tokens(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(3 + (i * i * 7 + i * 5) % 180));
  }
  return tokens;
}

model::ModelOptions with_slots(const std::filesystem::path& path, int64_t slots) {
  const LoadedModel all(path, Numerics::Fast, 1, {.expert_cache_bytes = int64_t{1} << 30});
  return {.expert_cache_bytes = slots * all->expert_cache()->stats().slot_bytes};
}

int64_t least_slots(const std::filesystem::path& path) {
  return 2 * Checkpoint::open(path.string()).config().num_experts_per_tok;
}

/// Logits of every position, some of them of two sequences in one batch.
std::vector<ops::Matrix> all_logits(const LoadedModel& model) {
  const std::vector<int32_t> tokens = some_tokens(70);
  std::vector<ops::Matrix> out;
  out.push_back(model.logits(tokens, {40, 1, 1, 13}));
  model::SequenceState first = model->new_state();
  model::SequenceState second = model->new_state();
  const std::span<const int32_t> span(tokens);
  for (const auto& [a, b] : {std::pair{span.first(9), span.subspan(30, 22)},
                             std::pair{span.subspan(9, 1), span.subspan(52, 1)},
                             std::pair{span.subspan(10, 1), span.subspan(53, 5)}}) {
    const std::array chunks{model::SequenceChunk{&first, a, model::LogitRows::All},
                            model::SequenceChunk{&second, b, model::LogitRows::All}};
    out.push_back(model->forward(chunks).logits);
  }
  return out;
}

/// What the draft head gives after a prompt, if there is one.
std::vector<ops::Matrix> draft_logits(const LoadedModel& model) {
  std::vector<ops::Matrix> out;
  if (!model->has_draft()) return out;
  const std::vector<int32_t> tokens = some_tokens(21);
  model::SequenceState state = model->new_state();
  const model::SequenceChunk chunk{&state, std::span(tokens).first(20), model::LogitRows::None};
  const model::ForwardResult result = model->forward({&chunk, 1}, {.keep_hidden = true});
  if (auto* v4 = dynamic_cast<model::v4::V4Model*>(&*model)) {
    out.push_back(v4->mtp_forward({&state, &result.hidden, std::span(tokens).subspan(1)}));
  }
  if (auto* v41 = dynamic_cast<model::v41::V41Model*>(&*model)) {
    v41->feed_draft(state, result.hidden);
    out.push_back(v41->draft(state, tokens.back()).logits);
  }
  return out;
}

void expect_same(const std::filesystem::path& path, Numerics numerics, int64_t slots) {
  const LoadedModel mapped(path, numerics);
  const LoadedModel cached(path, numerics, 2, with_slots(path, slots));
  ASSERT_EQ(mapped->expert_cache(), nullptr);
  ASSERT_NE(cached->expert_cache(), nullptr);
  const std::vector<ops::Matrix> expected = all_logits(mapped);
  const std::vector<ops::Matrix> found = all_logits(cached);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_bits(expected[i], found[i])) << i;
  const std::vector<ops::Matrix> expected_drafts = draft_logits(mapped);
  const std::vector<ops::Matrix> found_drafts = draft_logits(cached);
  for (size_t i = 0; i < expected_drafts.size(); ++i) {
    EXPECT_TRUE(same_bits(expected_drafts[i], found_drafts[i])) << "draft " << i;
  }
  const model::ExpertCache::Stats stats = cached->expert_cache()->stats();
  EXPECT_EQ(stats.slots, std::min(slots, stats.experts));
  EXPECT_GT(stats.misses, 0);
  if (stats.slots == stats.experts) {
    EXPECT_LE(stats.misses + stats.prefetched, stats.experts);
    EXPECT_GT(stats.hits, 0);
  }
}

TEST(CachedExperts, GoldenModelsGiveTheSameBits) {
  for (const char* name : {"v4-tiny-a", "v41-tiny-a"}) {
    const std::filesystem::path path = golden_dir() / name;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << name << " is not here";
    for (const Numerics numerics : {Numerics::Fast, Numerics::Official}) {
      SCOPED_TRACE(std::string(name) + " " + std::string(ops::numerics_name(numerics)));
      expect_same(path, numerics, least_slots(path));
      expect_same(path, numerics, 1000);
    }
  }
}

TEST(CachedExperts, EveryFormatGivesTheSameBits) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    for (const bool gguf : {false, true}) {
      SCOPED_TRACE(std::string(preset) + (gguf ? " gguf" : " safetensors"));
      const TemporaryDirectory directory;
      synth::SynthOptions o;
      o.preset = preset;
      o.gguf = gguf;
      o.layers = 8;
      o.experts = 16;
      o.draft = !(gguf && o.preset == "v4.1-tiny");
      o.out = directory.file("out");
      synth::synth_checkpoint(o);
      expect_same(o.out, Numerics::Fast, least_slots(o.out));
      expect_same(o.out, Numerics::Fast, least_slots(o.out) + 7);
    }
  }
}

TEST(CachedExperts, TooSmallACacheIsRefused) {
  const std::filesystem::path path = golden_dir() / "v4-tiny-a";
  if (!std::filesystem::exists(path)) GTEST_SKIP();
  EXPECT_THROW(LoadedModel(path, Numerics::Fast, 1, {.expert_cache_bytes = 5000}), LoadError);
}

TEST(CachedExperts, ThePlanGivesTheCacheRoomForWhatItPromises) {
  for (const char* name : {"v4-tiny-a", "v41-tiny-a"}) {
    const std::filesystem::path path = golden_dir() / name;
    if (!std::filesystem::exists(path)) GTEST_SKIP();
    const Checkpoint checkpoint = Checkpoint::open(path.string());
    const model::MemoryNeeds needs = model::memory_needs(checkpoint);
    const int64_t least = model::plan_memory(needs, 1, 0).least_cache_bytes();
    const LoadedModel model(path, Numerics::Fast, 1, {.expert_cache_bytes = least});
    const model::ExpertCache::Stats stats = model->expert_cache()->stats();
    EXPECT_EQ(stats.experts, needs.num_experts);
    EXPECT_LE(stats.slot_bytes, needs.slot_bytes);
    EXPECT_GE(stats.slots, least_slots(path));
  }
}

}  // namespace
}  // namespace lethe::testing
