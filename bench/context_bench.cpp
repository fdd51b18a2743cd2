// Speed of what a long context costs: index scores and attention to cached rows, for every kernel
// set, on one thread. Processor time, medians of 7: other work on the machine counts little.
#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <random>
#include <vector>

#include "kernels/kernel_sets.h"
#include "kernels/kernel_table.h"
#include "ops/index_scores.h"

namespace {

using namespace lethe;

double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double median_seconds(const auto& work) {
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) {
    const double begin = processor_seconds();
    work();
    times.push_back(processor_seconds() - begin);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

std::vector<std::byte> random_bytes(int64_t count) {
  std::mt19937 random(1);
  std::vector<std::byte> bytes(static_cast<size_t>(count));
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0x7e);  // no NaN in e4m3
  return bytes;
}

std::vector<float> random_floats(int64_t count) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

/// 64 heads of 128, as in V4.
void index_scores(const kernels::KernelTable& set) {
  constexpr int64_t kHeads = 64;
  constexpr int64_t kDim = 128;
  constexpr int64_t kKeys = 16384;
  constexpr int64_t kBytes = kDim / 2 + kDim / 32;
  std::vector<std::byte> keys = random_bytes(kKeys * kBytes);
  for (int64_t i = 0; i < 4 * kKeys; ++i) {  // scales of a key that are near each other
    std::byte& scale = keys[static_cast<size_t>(i / 4 * kBytes + kDim / 2 + i % 4)];
    scale = static_cast<std::byte>(120 + static_cast<int>(scale) / 2 % 3);
  }
  ops::IndexCodes codes;
  codes.assign(random_floats(kHeads * kDim), random_floats(kHeads), kDim);
  std::vector<float> scores(kKeys);
  const double seconds = median_seconds(
      [&] { set.index_scores(codes.view(), keys.data(), kBytes, kKeys, scores.data()); });
  fmt::print("{:10} index scores  {:8.1f} ns per key {:8.1f} GMAC/s\n", set.name,
             1e9 * seconds / kKeys, kHeads * kDim * kKeys / seconds / 1e9);
}

/// 64 or 32 heads of 512, V4's rows.
void attention(const kernels::KernelTable& set, int64_t heads) {
  constexpr int64_t kDim = 512;
  constexpr int64_t kKeys = kernels::kAttentionSegment;
  constexpr int64_t kBytes = 448 + 7 + 128;
  std::vector<std::byte> rows = random_bytes(kKeys * kBytes);
  const kernels::KeyLayout layout{.fp8_group = 64, .bf16_tail = 64};
  std::vector<kernels::AttentionKey> keys;
  for (int64_t i = 0; i < kKeys; ++i) {
    std::byte* const row = rows.data() + i * kBytes;
    std::fill_n(row + 448, 7, std::byte{120});
    for (int64_t d = 0; d < 64; ++d) row[455 + 2 * d + 1] = std::byte{0x3c};
    keys.push_back({row, &layout});
  }
  const std::vector<float> q = random_floats(heads * kDim);
  std::vector<float> sums(static_cast<size_t>(heads * (kDim + 2)));
  const auto scratch = std::make_unique<std::byte[]>(
      static_cast<size_t>(kernels::attention_scratch_bytes(heads, kDim) + 64));
  const auto at = reinterpret_cast<uintptr_t>(scratch.get());
  std::byte* const room = scratch.get() + (64 - at % 64) % 64;
  const double seconds = median_seconds([&] {
    set.attend({q.data(), heads, kDim, 0.04F}, keys.data(), kKeys,
               {sums.data() + heads * kDim, sums.data() + heads * (kDim + 1), sums.data()}, room);
  });
  fmt::print("{:10} {:3} heads     {:8.1f} ns per key {:8.1f} GMAC/s\n", set.name, heads,
             1e9 * seconds / kKeys, 2 * static_cast<double>(heads * kDim * kKeys) / seconds / 1e9);
}

}  // namespace

int main() {
  for (const kernels::KernelSet& set : kernels::kernel_sets()) {
    if (set.table == nullptr) continue;
    index_scores(*set.table);
    attention(*set.table, 64);
    attention(*set.table, 32);
  }
}
