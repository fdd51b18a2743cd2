// Weights copied to memory, once or for each node, give the bits of the same weights where they are
// mapped.
#include "model/weight_placement.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

#include "base/error.h"
#include "golden_paths.h"
#include "model/synth/synth_checkpoint.h"
#include "model_fixture.h"
#include "temporary_directory.h"

namespace lethe::testing {
namespace {

using model::WeightPlacement;
using ::testing::HasSubstr;

constexpr model::WeightOptions kCopy{.placement = WeightPlacement::copy, .expert_cache = {}};

struct PlacedModel {
  PlacedModel(const std::string& path, const model::WeightOptions& options)
      : checkpoint(Checkpoint::open(path)), device(team, ops::Numerics::Fast) {
    placed = model::place_weights(checkpoint, team, options);
    device.set_replicas(placed.replicas);
    decoder =
        model::load_model(checkpoint, device, {.expert_cache_bytes = placed.expert_cache_bytes});
  }
  ops::Matrix logits() const {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 40; ++i) tokens.push_back(3 + i * i * 7 % 180);
    model::SequenceState state = decoder->new_state();
    const model::SequenceChunk chunk{&state, tokens, model::LogitRows::All};
    return decoder->forward({&chunk, 1}).logits;
  }

  Checkpoint checkpoint;
  ThreadTeam team{2};
  ops::Device device;
  model::PlacedWeights placed;
  std::unique_ptr<model::Model> decoder;
};

bool is_inside(std::span<const std::byte> bytes, std::span<const std::byte> whole) {
  return bytes.data() >= whole.data() && bytes.data() + bytes.size() <= whole.data() + whole.size();
}
bool is_mapped(const Checkpoint& checkpoint, const TensorView& tensor) {
  return std::ranges::any_of(checkpoint.files(), [&](const MappedFile& file) {
    return is_inside(tensor.data, file.bytes());
  });
}

void expect_copied(const Checkpoint& copied, const Checkpoint& mapped) {
  for (const TensorSpec& spec : expected_tensors(mapped.config())) {
    const std::optional<StoredWeight> before = mapped.find(spec.name);
    if (!before) continue;
    const StoredWeight now = copied.get(spec.name);
    EXPECT_EQ(is_mapped(copied, now.tensor), model::is_looked_up(spec)) << spec.name;
    EXPECT_TRUE(std::ranges::equal(now.tensor.data, before->tensor.data)) << spec.name;
    ASSERT_EQ(now.scale.has_value(), before->scale.has_value()) << spec.name;
    if (now.scale) {
      EXPECT_TRUE(std::ranges::equal(now.scale->data, before->scale->data)) << spec.name;
    }
  }
}

std::string synth(const TemporaryDirectory& directory, const std::string& preset, bool gguf) {
  synth::SynthOptions o;
  o.preset = preset;
  o.gguf = gguf;
  o.layers = 8;
  o.draft = !(gguf && preset == "v4.1-tiny");
  o.out = directory.file("out");
  synth::synth_checkpoint(o);
  return o.out;
}

TEST(CopiedWeights, GiveTheSameBitsInEveryFormat) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    for (const bool gguf : {false, true}) {
      SCOPED_TRACE(std::string(preset) + (gguf ? " gguf" : " safetensors"));
      const TemporaryDirectory directory;
      const std::string path = synth(directory, preset, gguf);
      const PlacedModel mapped(path, {});
      const PlacedModel copied(path, kCopy);
      expect_copied(copied.checkpoint, mapped.checkpoint);
      EXPECT_TRUE(same_bits(copied.logits(), mapped.logits()));
    }
  }
}

TEST(CopiedWeights, OutliveTheCheckpointTheyWereMadeFor) {
  const TemporaryDirectory directory;
  const std::string path = synth(directory, "tiny", true);
  ThreadTeam team(2);
  std::optional<Checkpoint> first = Checkpoint::open(path);
  model::place_weights(*first, team, kCopy);
  const Checkpoint second = *first;
  first.reset();
  expect_copied(second, Checkpoint::open(path));
}

TEST(CopiedWeights, AreRefusedWithoutRoom) {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = Checkpoint::open(synth(directory, "tiny", true));
  ThreadTeam team(1);
  model::WeightOptions options = kCopy;
  options.expert_cache.state_bytes = int64_t{1} << 60;
  try {
    model::place_weights(checkpoint, team, options);
    FAIL() << "no exception";
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("--weights map"));
  }
}

TEST(CopiedWeights, AndAnExpertCacheExcludeEachOther) {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = Checkpoint::open(synth(directory, "tiny", true));
  ThreadTeam team(1);
  model::WeightOptions options = kCopy;
  options.expert_cache = model::parse_expert_cache("1GB");
  EXPECT_THROW(model::place_weights(checkpoint, team, options), UsageError);
}

TEST(WeightRanges, HoldEveryWeightAndNoTable) {
  for (const bool with_experts : {true, false}) {
    const TemporaryDirectory directory;
    const Checkpoint checkpoint = Checkpoint::open(synth(directory, "v4.1-tiny", false));
    const auto ranges = model::weight_ranges(checkpoint, with_experts);
    for (size_t i = 0; i < ranges.size(); ++i) {
      const model::WeightRange& range = ranges[i];
      EXPECT_EQ(range.mapped.data(), range.file->bytes().data() + range.offset);
      EXPECT_TRUE(is_inside(range.mapped, range.file->bytes()));
      if (i == 0) continue;
      const auto before = ranges[i - 1].mapped;
      EXPECT_GT(range.mapped.data(), before.data() + before.size());
    }
    for (const TensorSpec& spec : expected_tensors(checkpoint.config())) {
      const std::optional<StoredWeight> weight = checkpoint.find(spec.name);
      if (!weight || weight->tensor.data.size() <= 8192) continue;  // small ones may be in a gap
      const bool inside = std::ranges::any_of(ranges, [&](const model::WeightRange& range) {
        return is_inside(weight->tensor.data, range.mapped);
      });
      EXPECT_EQ(inside, !model::is_looked_up(spec) && (spec.expert < 0 || with_experts))
          << spec.name;
    }
  }
}

/// The node of whoever asks, as the tests have it.
std::atomic<int> faked_node{0};

/// A machine of three nodes, one without memory, whatever this one is.
model::WeightOptions replicate_for(std::vector<int> nodes) {
  return {.placement = WeightPlacement::replicate,
          .expert_cache = {},
          .nodes = std::move(nodes),
          .node_of_thread = [] { return faked_node.load(); }};
}

TEST(ReplicatedWeights, GiveTheSameBitsOnEveryNode) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    const TemporaryDirectory directory;
    const std::string path = synth(directory, preset, true);
    const ops::Matrix expected = PlacedModel(path, {}).logits();
    const PlacedModel replicated(path, replicate_for({0, 2}));
    expect_copied(replicated.checkpoint, Checkpoint::open(path));
    ASSERT_NE(replicated.placed.replicas, nullptr);
    EXPECT_EQ(replicated.placed.replicas->count(), 2U);
    for (const int node : {0, 1, 2, 7}) {
      faked_node = node;
      EXPECT_TRUE(same_bits(replicated.logits(), expected)) << preset << ", node " << node;
    }
  }
  faked_node = 0;
}

/// All but the tables of experts by token, of which a token reads a few bytes: there is one, for
/// all.
void spoil_first_copy(const PlacedModel& model) {
  const std::span<const std::byte> first = model.placed.replicas->replica(0);
  auto* const bytes = const_cast<std::byte*>(first.data());
  std::fill_n(bytes, first.size(), std::byte{0});
  for (const TensorSpec& spec : expected_tensors(model.checkpoint.config())) {
    if (!spec.name.ends_with(".tid2eid")) continue;
    const std::span<const std::byte> table = model.checkpoint.get(spec.name).tensor.data;
    const auto at = table.data() - first.data();
    std::copy_n(model.placed.replicas->replica(1).data() + at, table.size(), bytes + at);
  }
}

TEST(ReplicatedWeights, AreReadWhereTheThreadIs) {
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    const TemporaryDirectory directory;
    const std::string path = synth(directory, preset, true);
    const PlacedModel replicated(path, replicate_for({0, 2}));
    const ops::WeightReplicas& replicas = *replicated.placed.replicas;
    EXPECT_TRUE(std::ranges::equal(replicas.replica(0), replicas.replica(1)));
    faked_node = 2;
    const ops::Matrix expected = replicated.logits();
    spoil_first_copy(replicated);  // who is on the other node does not notice
    EXPECT_TRUE(same_bits(replicated.logits(), expected)) << preset;
    faked_node = 0;
    EXPECT_FALSE(same_bits(replicated.logits(), expected)) << preset;
  }
}

TEST(ReplicatedWeights, AreOneCopyOnOneNode) {
  const TemporaryDirectory directory;
  const std::string path = synth(directory, "tiny", true);
  ::testing::internal::CaptureStderr();
  const PlacedModel one(path, replicate_for({0}));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("one NUMA node"));
  EXPECT_EQ(one.placed.replicas, nullptr);
  expect_copied(one.checkpoint, Checkpoint::open(path));
}

TEST(ReplicatedWeights, AreRefusedWithoutRoom) {
  const TemporaryDirectory directory;
  Checkpoint checkpoint = Checkpoint::open(synth(directory, "tiny", true));
  ThreadTeam team(1);
  model::WeightOptions options = replicate_for({0, 1});
  options.expert_cache.state_bytes = int64_t{1} << 60;
  try {
    model::place_weights(checkpoint, team, options);
    FAIL() << "no exception";
  } catch (const LoadError& error) {
    EXPECT_THAT(error.what(), HasSubstr("each of 2 NUMA nodes"));
    EXPECT_THAT(error.what(), HasSubstr("--weights copy"));
  }
  options.expert_cache = model::parse_expert_cache("1GB");
  EXPECT_THROW(model::place_weights(checkpoint, team, options), UsageError);
}

TEST(WeightPlacement, IsMapCopyOrReplicate) {
  EXPECT_EQ(model::parse_weight_placement("map"), WeightPlacement::map);
  EXPECT_EQ(model::parse_weight_placement("copy"), WeightPlacement::copy);
  EXPECT_EQ(model::parse_weight_placement("replicate"), WeightPlacement::replicate);
  EXPECT_THROW(model::parse_weight_placement("mmap"), UsageError);
}

}  // namespace
}  // namespace lethe::testing
