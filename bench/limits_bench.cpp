// What bounds the kernels of `avx512`: rates of loops that do nothing but what a tile is made of,
// as shares of the rate of `vpdpbusd` alone; multiplications and additions of f32; reads of memory.
//
//   limits_bench
//
// Needs a processor that can run that set. One core but for the reads, which two threads do too.
// Medians of 7; the rate of `vpdpbusd` is measured before and after each loop, so that other load
// meets both.
#include <fmt/core.h>
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/huge_memory.h"
#include "base/median.h"
#include "kernels/kernel_sets.h"
#include "kernels/peak_probe.h"

namespace {

constexpr int kTimes = 7;
constexpr double kG = 1e9;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// 10^9 multiply-adds per second of `vpdpbusd` with nothing beside it.
double products_alone() {
  static const auto probe =
      lethe::kernels::peak_probe(lethe::kernels::select_kernels("avx512")).int8_ops;
  const double begin = seconds();
  const double operations = probe(2'000'000);
  return operations / 2 / (seconds() - begin) / kG;
}

/// What follows the 8 products of a group of 32 columns.
enum class Ending {
  Nothing,     ///< sums go on
  Power,       ///< less a vector, to the totals: a scale that is a power of two
  PowerScale,  ///< and times the activations' scale before it
  PowerFused,  ///< the same in one instruction
  TwoScales,   ///< to f32, times two scales, to the totals
};

constexpr int64_t kGroups = 8;  // a panel's 5 KB each, and activations, are in the first cache
constexpr int64_t kPanelGroup = 640;
constexpr int64_t kTokenGroup = 576;

/// One group: kPanels panels of 16 rows with kTokens tokens.
template <int kPanels, int kTokens, Ending kEnding>
[[gnu::always_inline]] inline void add_group(const std::byte* panel, const std::byte* tokens,
                                             __m512i (*sums)[kTokens], __m512 (*totals)[kTokens]) {
#pragma GCC unroll 4
  for (int p = 0; p < kPanels && kEnding != Ending::Nothing; ++p) {
    const __m512i first = _mm512_load_si512(panel + kPanelGroup * p + 512);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[p][t] = first;
  }
#pragma GCC unroll 8
  for (int v = 0; v < 8; ++v) {
    __m512i rows[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      rows[p] = _mm512_load_si512(panel + kPanelGroup * p + 64 * v);
      asm("" : "+v"(rows[p]));  // in a register
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      int32_t four;
      std::memcpy(&four, tokens + 32 * t + 4 * v, sizeof(four));
      const __m512i codes = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        sums[p][t] = _mm512_dpbusd_epi32(sums[p][t], codes, rows[p]);
      }
    }
  }
  if constexpr (kEnding == Ending::Nothing) return;
  const auto* scales = reinterpret_cast<const float*>(tokens + 512);
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const __m512 of_rows = _mm512_load_ps(panel + kPanelGroup * p + 576);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512 of_token = _mm512_set1_ps(scales[t]);
      __m512 value;
      if constexpr (kEnding == Ending::TwoScales) {
        value = _mm512_mul_ps(of_rows, _mm512_cvtepi32_ps(sums[p][t]));
      } else {
        value = _mm512_sub_ps(_mm512_castsi512_ps(sums[p][t]), of_rows);
      }
      if constexpr (kEnding == Ending::PowerFused) {
        totals[p][t] = _mm512_fmadd_ps(value, of_token, totals[p][t]);
        continue;
      }
      if constexpr (kEnding != Ending::Power) value = _mm512_mul_ps(value, of_token);
      totals[p][t] = _mm512_add_ps(totals[p][t], value);
    }
  }
}

template <int kPanels, int kTokens, Ending kEnding>
[[gnu::noinline]] void add_groups(const std::byte* panel, const std::byte* tokens, int64_t rounds) {
  __m512i sums[kPanels][kTokens];
  __m512 totals[kPanels][kTokens];
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) {
      sums[p][t] = _mm512_setzero_si512();
      totals[p][t] = _mm512_setzero_ps();
    }
  }
  for (int64_t i = 0; i < rounds; ++i) {
    for (int64_t g = 0; g < kGroups; ++g) {
      add_group<kPanels, kTokens, kEnding>(panel + kPanelGroup * kPanels * g,
                                           tokens + kTokenGroup * g, sums, totals);
    }
  }
  for (int p = 0; p < kPanels; ++p) {
    for (int t = 0; t < kTokens; ++t) asm volatile("" : : "v"(sums[p][t]), "v"(totals[p][t]));
  }
}

template <int kPanels, int kTokens, Ending kEnding>
double share_of_products(const std::byte* data) {
  constexpr int64_t kRounds = 400'000'000 / (kPanels * kTokens * kGroups * 512);
  std::vector<double> shares;
  for (int i = 0; i < kTimes; ++i) {
    const double before = products_alone();
    const double begin = seconds();
    add_groups<kPanels, kTokens, kEnding>(data, data + kPanelGroup * 4 * kGroups, kRounds);
    const double rate =
        static_cast<double>(kRounds * kGroups * kPanels * kTokens) * 512 / (seconds() - begin) / kG;
    shares.push_back(2 * rate / (before + products_alone()));
  }
  return lethe::median(std::move(shares));
}

/// 10^9 multiply-adds of f32 per second, the product and the sum apart.
double f32_rate() {
  constexpr int kSums = 12;
  constexpr int64_t kRounds = 2'000'000;
  std::vector<double> rates;
  for (int i = 0; i < kTimes; ++i) {
    __m512 sums[kSums];
    for (__m512& sum : sums) sum = _mm512_setzero_ps();
    __m512 x = _mm512_set1_ps(1.5F);
    const double begin = seconds();
    for (int64_t r = 0; r < kRounds; ++r) {
      asm volatile("" : "+v"(x));
#pragma GCC unroll 12
      for (__m512& sum : sums) {
        __m512 product;
        asm("vmulps %1, %1, %0" : "=v"(product) : "v"(x));
        sum = _mm512_add_ps(sum, product);
      }
    }
    for (__m512& sum : sums) asm volatile("" : : "v"(sum));
    rates.push_back(static_cast<double>(kRounds) * 16 * kSums / (seconds() - begin) / kG);
  }
  return lethe::median(std::move(rates));
}

/// Reads kStreams parts side by side, asking for what is kAhead bytes on.
template <int kStreams, int64_t kAhead>
void read(const std::byte* data, size_t bytes) {
  __m512i sums[4] = {};
  const size_t each = bytes / kStreams;
  for (size_t i = 0; i < each; i += 256) {
    for (size_t s = 0; s < kStreams; ++s) {
      const std::byte* at = data + s * each + i;
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        if (kAhead > 0) __builtin_prefetch(at + 64 * k + kAhead);
        sums[k] = _mm512_xor_si512(sums[k], _mm512_load_si512(at + 64 * k));
      }
    }
  }
  for (__m512i& sum : sums) asm volatile("" : : "v"(sum));
}

template <int kStreams, int64_t kAhead>
void print_reads(std::span<const std::byte> data) {
  const size_t half = data.size() / 2;
  std::vector<double> one;
  std::vector<double> two;
  for (int i = 0; i < kTimes; ++i) {
    double begin = seconds();
    read<kStreams, kAhead>(data.data(), half);
    one.push_back(static_cast<double>(half) / (seconds() - begin) / kG);
    begin = seconds();
    std::thread other([&] { read<kStreams, kAhead>(data.data() + half, half); });
    read<kStreams, kAhead>(data.data(), half);
    other.join();
    two.push_back(static_cast<double>(data.size()) / (seconds() - begin) / kG);
  }
  fmt::print("{:7} streams, {:5} bytes ahead {:10.1f} {:10.1f}\n", kStreams, kAhead,
             lethe::median(std::move(one)), lethe::median(std::move(two)));
}

}  // namespace

int main() {
  const auto sets = lethe::kernels::kernel_sets();
  const auto set = std::ranges::find(sets, "avx512", &lethe::kernels::KernelSet::name);
  if (set->table == nullptr) {
    fmt::print(stderr, "limits_bench: avx512 cannot run here: {}\n", set->why_not);
    return 1;
  }
  const lethe::HugeMemory small(size_t{2} << 20);
  std::memset(small.bytes().data(), 0, small.bytes().size());
  const std::byte* data = small.bytes().data();
  fmt::print("vpdpbusd alone: {:.0f} * 10^9 multiply-adds/s; of it, in the first cache:\n",
             products_alone());
  fmt::print("{:44} {:>8} {:>8}\n", "", "8 sums", "12 sums");
  const auto row = [](const char* what, double eight, double twelve) {
    fmt::print("{:44} {:7.1f}% {:7.1f}%\n", what, 100 * eight, 100 * twelve);
  };
  row("products with codes from memory", share_of_products<2, 4, Ending::Nothing>(data),
      share_of_products<3, 4, Ending::Nothing>(data));
  row("a scale that is a power of two", share_of_products<2, 4, Ending::Power>(data),
      share_of_products<3, 4, Ending::Power>(data));
  row("and the activations' scale (FP4)", share_of_products<2, 4, Ending::PowerScale>(data),
      share_of_products<3, 4, Ending::PowerScale>(data));
  row("the same, fused with the addition", share_of_products<2, 4, Ending::PowerFused>(data),
      share_of_products<3, 4, Ending::PowerFused>(data));
  row("both scales as they are (Q8_0)", share_of_products<2, 4, Ending::TwoScales>(data),
      share_of_products<3, 4, Ending::TwoScales>(data));
  fmt::print("f32 products and sums apart: {:.0f} * 10^9 multiply-adds/s\n\n", f32_rate());

  const lethe::HugeMemory large(size_t{2} << 30);
  std::memset(large.bytes().data(), 1, large.bytes().size());
  fmt::print("{:36} {:>10} {:>10}\n", "reads, GB/s", "1 thread", "2 threads");
  print_reads<1, 0>(large.bytes());
  print_reads<1, 2048>(large.bytes());
  print_reads<1, 8192>(large.bytes());
  print_reads<2, 0>(large.bytes());
  print_reads<4, 0>(large.bytes());
  print_reads<4, 2048>(large.bytes());
  print_reads<8, 0>(large.bytes());
  return 0;
}
