// How often a decode step asks the allocator: a program of its own, whose operator new counts.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/scheduler.h"
#include "model/synth/synth_checkpoint.h"
#include "model_fixture.h"
#include "temporary_directory.h"

namespace {

std::atomic<int64_t> allocations{0};

void* counted(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t size) {
  return counted(size);
}
void* operator new[](size_t size) {
  return counted(size);
}
// Those that do not throw as well: AddressSanitizer has its own, whose memory it wants back itself.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);
}
void operator delete(void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, const std::nothrow_t&) noexcept {
  std::free(memory);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}

namespace lethe::testing {
namespace {

/// Pages of a cache begin at positions that are multiples of this or, where an entry stands for
/// several tokens, before kFirst.
constexpr int64_t kPage = 16;
constexpr int64_t kFirst = 131;  // here all buffers have been used
constexpr int64_t kLast = 159;

/// Calls of operator new in the steps that begin no page, ascending.
template <typename Step>
std::vector<int64_t> counts_of(int64_t position, Step step) {
  std::vector<int64_t> counts;
  for (; position <= kLast; ++position) {
    const int64_t before = allocations.load();
    step();
    const int64_t count = allocations.load() - before;
    if (position >= kFirst && position % kPage != 0) counts.push_back(count);
  }
  std::ranges::sort(counts);
  return counts;
}

class DecodeAllocations : public ::testing::TestWithParam<const char*> {
 protected:
  DecodeAllocations() {
    synth::SynthOptions o;
    o.preset = GetParam();
    o.gguf = true;
    o.layers = 8;
    o.draft = false;
    o.out = directory_.file("out");
    synth::synth_checkpoint(o);
  }
  LoadedModel load(int threads, const model::ModelOptions& options = {}) const {
    return LoadedModel(directory_.file("out"), ops::Numerics::Fast, threads, options);
  }

  /// Counts of steps that take one token of each of some sequences.
  static std::vector<int64_t> decode(const LoadedModel& model, size_t sequences) {
    std::vector<model::SequenceState> states;
    for (size_t i = 0; i < sequences; ++i) states.push_back(model->new_state());
    int32_t token = 3;
    std::vector<model::SequenceChunk> chunks;
    for (model::SequenceState& state : states) chunks.push_back({&state, {&token, 1}});
    return counts_of(0, [&] {
      model->forward(chunks);
      token = 3 + (token + 5) % 40;
    });
  }

 private:
  TemporaryDirectory directory_;
};

TEST_P(DecodeAllocations, AreCounted) {
  const int64_t before = allocations.load();
  const auto number = std::make_unique<std::atomic<int>>(1);
  EXPECT_EQ(allocations.load(), before + number->load());
}

TEST_P(DecodeAllocations, AreNone) {
  const LoadedModel model = load(1);
  for (const size_t sequences : {1, 2}) {
    EXPECT_EQ(decode(model, sequences).back(), 0) << sequences << " sequences";
  }
}

// Chance decides which thread meets which piece of work, so one may grow a buffer late.
TEST_P(DecodeAllocations, AreNoneWithSeveralThreads) {
  const LoadedModel model = load(3);
  for (const size_t sequences : {1, 2}) {
    const std::vector<int64_t> counts = decode(model, sequences);
    EXPECT_EQ(counts[counts.size() / 2], 0) << sequences << " sequences";
  }
}

TEST_P(DecodeAllocations, AreNoneAfterALongPrompt) {
  const LoadedModel model = load(1);
  model::SequenceState other = model->new_state();
  const std::vector<int32_t> prompt(1000, 7);
  const model::SequenceChunk chunk{&other, prompt};
  model->forward({&chunk, 1});
  EXPECT_LE(RecycledMemory::kept_bytes(), RecycledMemory::kMostKept);
  EXPECT_EQ(decode(model, 1).back(), 0);
}

TEST_P(DecodeAllocations, AreNoneWithAnExpertCacheThatHoldsAll) {
  const LoadedModel model = load(1, {.expert_cache_bytes = int64_t{1} << 30});
  EXPECT_EQ(decode(model, 1).front(), 0);
}

/// Hears nothing.
class DeafSink : public engine::RequestSink {
 public:
  bool on_token(const engine::SampledToken&) override { return true; }
  void on_finish(const engine::Outcome&) noexcept override {}
};

TEST_P(DecodeAllocations, AreNoneInTheEngine) {
  const LoadedModel model = load(1);
  engine::Scheduler scheduler(*model, {.prefill_chunk = 16, .memory_bytes = int64_t{1} << 30});
  engine::Request request;
  request.prompt = {3, 4, 5};
  request.max_tokens = 400;
  request.sampling.temperature = 0;
  engine::Sampler sampler(request.sampling, model->num_tokens(), model->refused_tokens());
  scheduler.add(std::make_unique<engine::Sequence>(1, std::move(request),
                                                   std::make_shared<DeafSink>(), sampler));
  scheduler.step();
  EXPECT_EQ(counts_of(3, [&] { scheduler.step(); }).back(), 0);
}

INSTANTIATE_TEST_SUITE_P(Presets, DecodeAllocations, ::testing::Values("tiny", "v4.1-tiny"),
                         [](const auto& preset) {
                           return std::string(preset.param == std::string("tiny") ? "V4" : "V41");
                         });

}  // namespace
}  // namespace lethe::testing
