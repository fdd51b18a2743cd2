#include "apps/machine_probe.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "base/system_memory.h"
#include "kernels/peak_probe.h"

namespace lethe::apps {

namespace {

constexpr int kTries = 3;
constexpr int64_t kReadBytes = int64_t{512} << 20;  // past every cache
constexpr double kPeakSeconds = 0.05;

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Sum of 8-byte words in as many independent sums as hide an addition's latency.
uint64_t sum_words(const uint64_t* words, size_t count) {
  constexpr size_t kSums = 16;
  uint64_t sums[kSums] = {};
  for (size_t i = 0; i + kSums <= count; i += kSums) {
    for (size_t s = 0; s < kSums; ++s) sums[s] += words[i + s];
  }
  return std::accumulate(sums, sums + kSums, uint64_t{0});
}

double read_bandwidth(ThreadTeam& team) {
  // Less where memory is short: nobody may be killed for a measurement.
  const int64_t bytes = std::min(kReadBytes, available_memory_bytes() / 4);
  const size_t num_words = static_cast<size_t>(bytes) / sizeof(uint64_t);
  const auto words = std::make_unique_for_overwrite<uint64_t[]>(num_words);
  const auto threads = static_cast<size_t>(team.size());
  const size_t each = num_words / threads;
  const auto part = [&](int i) { return words.get() + static_cast<size_t>(i) * each; };
  // Each thread reads what it wrote first, so that the pages lie near it.
  team.run([&](int i) { std::fill_n(part(i), each, static_cast<uint64_t>(i) + 1); });
  double best = 0;
  std::vector<uint64_t> sums(threads);
  for (int t = 0; t < kTries; ++t) {
    const double seconds = seconds_of([&] {
      team.run([&](int i) { sums[static_cast<size_t>(i)] += sum_words(part(i), each); });
    });
    best = std::max(best, static_cast<double>(each * threads * sizeof(uint64_t)) / seconds);
  }
  // The sums are used, so that the reads cannot be left out.
  return std::accumulate(sums.begin(), sums.end(), uint64_t{0}) == 0 ? 0 : best;
}

double peak(ThreadTeam& team, double (*work)(int64_t) noexcept) {
  int64_t rounds = 1 << 14;
  while (seconds_of([&] { work(rounds); }) < kPeakSeconds) rounds *= 2;
  double best = 0;
  for (int t = 0; t < kTries; ++t) {
    std::vector<double> operations(static_cast<size_t>(team.size()));
    const double seconds = seconds_of(
        [&] { team.run([&](int i) { operations[static_cast<size_t>(i)] = work(rounds); }); });
    best = std::max(best, std::accumulate(operations.begin(), operations.end(), 0.0) / seconds);
  }
  return best;
}

}  // namespace

double probe_read_gb_s(ThreadTeam& team) {
  return read_bandwidth(team) / 1e9;
}

MachineLimits probe_machine(ThreadTeam& team, const kernels::KernelTable& kernels) {
  const kernels::PeakProbe& probe = kernels::peak_probe(kernels);
  return {.read_gb_s = probe_read_gb_s(team),
          .int8_gop_s = peak(team, probe.int8_ops) / 1e9,
          .bf16_gflop_s = peak(team, probe.bf16_flops) / 1e9};
}

}  // namespace lethe::apps
