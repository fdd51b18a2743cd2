#include "apps/machine_probe.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "base/huge_memory.h"
#include "base/median.h"
#include "base/system_memory.h"
#include "kernels/kernel_sets.h"

namespace lethe::apps {

namespace {

constexpr int kTries = 6;  // the first reads are often far below what the machine can do
constexpr int64_t kAhead[] = {0, 2048};  // bytes asked for before they are read, try by try
constexpr size_t kLine = 64;
constexpr int64_t kReadBytes = int64_t{512} << 20;  // past every cache
constexpr double kPeakSeconds = 0.05;

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Memory that the threads of a team read, each its own part.
class ReadMemory {
 public:
  explicit ReadMemory(ThreadTeam& team) : team_(team) {
    // Less where memory is short: nobody may be killed for a measurement, or what is in memory be
    // thrown out for it.
    const int64_t bytes = std::min(kReadBytes, available_memory_bytes() / 8);
    const auto threads = static_cast<size_t>(team.size());
    lines_each_ = static_cast<size_t>(bytes) / kLine / threads;
    memory_ = HugeMemory(lines_each_ * threads * kLine);
    // Each thread reads what it wrote first, so that the pages lie near it.
    team.run([&](int i) {
      const std::span<std::byte> part = memory_.bytes().subspan(
          static_cast<size_t>(i) * lines_each_ * kLine, lines_each_ * kLine);
      std::ranges::fill(part, std::byte{1});
    });
  }

  /// One try.
  double read_gb_s(const kernels::PeakProbe& probe, int64_t ahead) {
    const auto threads = static_cast<size_t>(team_.size());
    std::vector<uint64_t> sums(threads);
    const double seconds = seconds_of([&] {
      team_.run([&](int i) {
        const auto thread = static_cast<size_t>(i);
        sums[thread] = probe.read(memory_.bytes().data() + thread * lines_each_ * kLine,
                                  static_cast<int64_t>(lines_each_), ahead);
      });
    });
    // The sums are used, so that the reads cannot be left out.
    if (std::accumulate(sums.begin(), sums.end(), uint64_t{0}) == 0) return 0;
    return static_cast<double>(lines_each_ * threads * kLine) / seconds / 1e9;
  }

 private:
  ThreadTeam& team_;
  HugeMemory memory_;
  size_t lines_each_ = 0;  // of a thread
};

double median_of(std::span<const MachineLimits> measurements, double MachineLimits::*figure) {
  std::vector<double> values;
  for (const MachineLimits& m : measurements) values.push_back(m.*figure);
  return lethe::median(std::move(values));
}

}  // namespace

MachineLimits median(std::span<const MachineLimits> measurements) {
  return {.read_gb_s = median_of(measurements, &MachineLimits::read_gb_s),
          .int8_gop_s = median_of(measurements, &MachineLimits::int8_gop_s),
          .bf16_gflop_s = median_of(measurements, &MachineLimits::bf16_gflop_s)};
}

MachineProbe::MachineProbe(ThreadTeam& team, const kernels::KernelTable& kernels)
    : team_(team), probe_(kernels::peak_probe(kernels)) {}

int64_t MachineProbe::rounds_for(Work work) const {
  int64_t rounds = 1 << 14;
  while (seconds_of([&] { work(rounds); }) < kPeakSeconds) rounds *= 2;
  return rounds;
}

double MachineProbe::peak(Work work, int64_t rounds) {
  std::vector<double> operations(static_cast<size_t>(team_.size()));
  const double seconds = seconds_of(
      [&] { team_.run([&](int i) { operations[static_cast<size_t>(i)] = work(rounds); }); });
  return std::accumulate(operations.begin(), operations.end(), 0.0) / seconds;
}

double MachineProbe::best_read_gb_s() {
  ReadMemory memory(team_);
  double best = 0;
  for (int t = 0; t < kTries; ++t) {
    best = std::max(best, memory.read_gb_s(probe_, kAhead[static_cast<size_t>(t) % 2]));
  }
  return best;
}

MachineLimits MachineProbe::measure() {
  if (int8_rounds_ == 0) int8_rounds_ = rounds_for(probe_.int8_ops);
  if (bf16_rounds_ == 0) bf16_rounds_ = rounds_for(probe_.bf16_flops);
  return {.read_gb_s = best_read_gb_s(),
          .int8_gop_s = peak(probe_.int8_ops, int8_rounds_) / 1e9,
          .bf16_gflop_s = peak(probe_.bf16_flops, bf16_rounds_) / 1e9};
}

double best_read_gb_s(ThreadTeam& team) {
  return MachineProbe(team, kernels::kernel_table()).best_read_gb_s();
}

}  // namespace lethe::apps
