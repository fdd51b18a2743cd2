// How long it takes to sample one token: processor time of one thread, medians.
//
//   sampler_bench [VOCAB]
//
// Rows of random logits, flat (normal, std 2: what an untrained head gives, the worst case) and
// peaked (most of the mass on a few tokens, as in real text). Checks first that every token sampled
// is one of the row's.

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/sampler.h"

namespace {

using lethe::engine::Sampler;
using lethe::engine::SamplingParams;

constexpr int kRounds = 201;

std::vector<float> make_row(size_t vocab, bool peaked) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> row(vocab);
  for (float& logit : row) logit = normal(random);
  for (size_t i = 0; peaked && i < 40; ++i) {
    row[random() % vocab] = 24 - 0.25F * static_cast<float>(i);
  }
  return row;
}

double median_microseconds(const Sampler& sampler, const std::vector<float>& row) {
  std::vector<double> times;
  for (uint64_t i = 0; i < kRounds; ++i) {
    timespec begin{};
    timespec end{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    const int32_t id = sampler.sample(row, i).id;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    if (id < 0 || static_cast<size_t>(id) >= row.size()) throw lethe::Error("no token: {}", id);
    times.push_back(static_cast<double>(end.tv_sec - begin.tv_sec) * 1e6 +
                    static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-3);
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

std::vector<std::pair<std::string, SamplingParams>> cases() {
  return {{"greedy", {.temperature = 0}},
          {"default", {}},
          {"temperature 0.6", {.temperature = 0.6}},
          {"min_p 0.05", {.min_p = 0.05}},
          {"top_p 0.95", {.top_p = 0.95}},
          {"top_k 40", {.top_k = 40}},
          {"top_k 20000", {.top_k = 20000}},
          {"top_k 40 top_p 0.95 min_p 0.05", {.top_p = 0.95, .top_k = 40, .min_p = 0.05}},
          {"bias", {.logit_bias = {{5, 1.0F}}}},
          {"logprobs 20", {.logprobs = true, .top_logprobs = 20}}};
}

}  // namespace

int main(int argc, char** argv) {
  const long vocab = argc == 2 ? std::atol(argv[1]) : 129'280;
  if (argc > 2 || vocab < 100) {
    fmt::print(stderr, "usage: sampler_bench [VOCAB >= 100]\n");
    return 2;
  }
  try {
    const std::vector<float> flat = make_row(static_cast<size_t>(vocab), false);
    const std::vector<float> peaked = make_row(static_cast<size_t>(vocab), true);
    fmt::print("{} logits, microseconds per token (median)        flat   peaked\n", vocab);
    for (const auto& [name, params] : cases()) {
      const Sampler sampler(params, vocab);
      fmt::print("{:<46} {:8.0f} {:8.0f}\n", name, median_microseconds(sampler, flat),
                 median_microseconds(sampler, peaked));
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
