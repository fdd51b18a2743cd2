// How often a decode step asks the allocator: a program of its own, whose operator new counts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

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

/// Calls of operator new in one decode step, in the steady state: the least of several steps, as
/// some of them begin a page of a cache.
int64_t allocations_per_token(const std::string& preset, int64_t layers) {
  const TemporaryDirectory directory;
  synth::SynthOptions o;
  o.preset = preset;
  o.gguf = true;
  o.layers = layers;
  o.draft = false;
  o.out = directory.file("out");
  synth::synth_checkpoint(o);
  const LoadedModel model(o.out, ops::Numerics::Fast);
  model::SequenceState state = model->new_state();
  int64_t least = INT64_MAX;
  for (int32_t token = 3; token < 43; ++token) {
    const model::SequenceChunk chunk{&state, {&token, 1}};
    const int64_t before = allocations.load();
    model->forward({&chunk, 1});
    if (token > 20) least = std::min(least, allocations.load() - before);
  }
  return least;
}

// Activations are allocated anew in every layer, some 80 times. It costs microseconds of a step; it
// shall not become more.
TEST(DecodeAllocations, AreBoundedPerLayer) {
  constexpr int64_t kLayers = 8;
  constexpr int64_t kMostPerLayer = 85;
  for (const char* preset : {"tiny", "v4.1-tiny"}) {
    const int64_t few = allocations_per_token(preset, kLayers);
    const int64_t many = allocations_per_token(preset, 2 * kLayers);
    EXPECT_GT(many, few);  // they are counted
    EXPECT_LE(many - few, kMostPerLayer * kLayers) << preset;
  }
}

}  // namespace
}  // namespace lethe::testing
