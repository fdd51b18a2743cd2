// Scores and choice of index keys in one pass, against scoring all and sorting.
#include "ops/index_select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "ops/top_k.h"

namespace lethe::ops {
namespace {

constexpr int64_t kDim = 64;
constexpr int64_t kHeads = 5;

std::vector<int32_t> by_sorting(std::span<const float> scores, int64_t k) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > -INFINITY) order.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  order.resize(std::min(order.size(), static_cast<size_t>(k)));
  return order;
}

TEST(TopKOfRuns, DoesNotDependOnRunsOrWhoOffers) {
  std::mt19937 random(3);
  for (int round = 0; round < 60; ++round) {
    std::vector<float> scores(random() % 3000);
    const auto kinds = 1 + random() % 40;  // few kinds: many ties
    for (float& score : scores) {
      score = static_cast<float>(random() % kinds) - 2;
      if (random() % 30 == 0) score = random() % 2 == 0 ? -INFINITY : NAN;
      if (score == 0 && random() % 2 == 0) score = -0.0F;
    }
    if (round % 4 == 0) std::sort(scores.begin(), scores.end());
    const auto k = static_cast<int64_t>(random() % 200);
    const std::vector<int32_t> expected = by_sorting(scores, k);

    std::vector<TopK> parts(3);
    for (TopK& part : parts) part.reset(k);
    std::vector<std::pair<size_t, size_t>> runs;
    for (size_t begin = 0; begin < scores.size();) {
      const size_t end = std::min(scores.size(), begin + 1 + random() % 100);
      runs.emplace_back(begin, end);
      begin = end;
    }
    std::shuffle(runs.begin(), runs.end(), random);
    for (const auto& [begin, end] : runs) {
      parts[random() % 3].offer(std::span(scores).subspan(begin, end - begin),
                                static_cast<int64_t>(begin));
    }
    parts[0].offer(parts[1]);
    parts[0].offer(parts[2]);
    std::vector<int32_t> found(static_cast<size_t>(parts[0].size()));
    parts[0].best(found);
    EXPECT_EQ(found, expected);
    parts[0].ascending(found);
    std::vector<int32_t> sorted = expected;
    std::sort(sorted.begin(), sorted.end());
    EXPECT_EQ(found, sorted);
  }
}

struct Keys {
  RowCodec codec;
  RowStore rows;
  Matrix q{1, kHeads* kDim};
  std::vector<float> weights;

  Keys(Numerics numerics, int64_t count, int64_t distinct)
      : codec(numerics, RowCodec::Kind::Fp4, kDim, 16), rows(codec.row_bytes(), 64) {
    std::mt19937 random(9);
    std::normal_distribution<float> normal;
    for (float& value : q.values()) value = normal(random);
    for (int64_t h = 0; h < kHeads; ++h) weights.push_back(normal(random));
    Matrix values(distinct, kDim);
    for (float& value : values.values()) value = normal(random);
    rows.append(count);
    for (int64_t j = 0; j < count; ++j) {
      codec.encode(values.row(static_cast<int64_t>(random()) % distinct).data(),
                   rows.mutable_row(j));
    }
  }
  IndexQuery query() const { return {q.row(0), weights, &rows, codec}; }
};

class SelectKeys : public ::testing::TestWithParam<std::tuple<Numerics, int>> {};

TEST_P(SelectKeys, EqualsScoringAllAndSorting) {
  const auto [numerics, threads] = GetParam();
  constexpr int64_t kCount = 9001;
  ThreadTeam team(threads);
  const Device device(team, numerics);
  for (const int64_t distinct : {int64_t{9000}, int64_t{7}}) {  // rarely and nearly always tied
    const Keys keys(numerics, kCount, distinct);
    std::vector<float> scores(kCount);
    index_scores(device, keys.query(), 0, kCount, scores);
    const KeyRun all{0, kCount};
    for (const bool share : {false, true}) {
      std::vector<int32_t> found(100);
      select_keys(device, keys.query(), {&all, 1}, {.keys = 100}, share, found);
      EXPECT_EQ(found, by_sorting(scores, 100));
    }
  }
}

TEST_P(SelectKeys, BlocksAreThoseWithTheBestKeys) {
  const auto [numerics, threads] = GetParam();
  constexpr int64_t kCount = 5003;
  constexpr int64_t kBlock = 8;
  ThreadTeam team(threads);
  const Device device(team, numerics);
  const Keys keys(numerics, kCount, 300);
  std::vector<float> scores(kCount);
  index_scores(device, keys.query(), 0, kCount, scores);
  std::vector<float> best((kCount + kBlock - 1) / kBlock, -INFINITY);
  for (size_t j = 0; j < kCount; ++j) best[j / kBlock] = std::max(best[j / kBlock], scores[j]);
  best.back() = INFINITY;
  std::vector<int32_t> expected = by_sorting(best, 40);
  std::sort(expected.begin(), expected.end());
  std::vector<int32_t> keys_expected = by_sorting(scores, 30);
  std::sort(keys_expected.begin(), keys_expected.end());

  const KeyRun all{0, kCount};
  for (const bool share : {false, true}) {
    std::vector<int32_t> found(30);
    RecycledVector<int32_t> blocks;
    select_keys(device, keys.query(), {&all, 1},
                {.keys = 30, .ascending = true, .blocks = 40, .keys_per_block = kBlock}, share,
                found, &blocks);
    EXPECT_TRUE(std::ranges::equal(blocks, expected));
    EXPECT_EQ(found, keys_expected);

    // Only keys of those blocks: the rest is never chosen.
    std::vector<KeyRun> runs;
    std::vector<float> masked(kCount, -INFINITY);
    for (const int32_t block : blocks) {
      const KeyRun run{block * kBlock, std::min<int64_t>((block + 1) * kBlock, kCount)};
      std::copy(scores.begin() + run.begin, scores.begin() + run.end, masked.begin() + run.begin);
      runs.push_back(run);
    }
    std::vector<int32_t> among(30);
    select_keys(device, keys.query(), runs, {.keys = 30}, share, among);
    EXPECT_EQ(among, by_sorting(masked, 30));
  }
}

TEST_P(SelectKeys, FewKeysLeaveTheRestEmpty) {
  const auto [numerics, threads] = GetParam();
  ThreadTeam team(threads);
  const Device device(team, numerics);
  const Keys keys(numerics, 3, 3);
  std::vector<int32_t> found(6, 99);
  const KeyRun all{0, 3};
  select_keys(device, keys.query(), {&all, 1}, {.keys = 6, .ascending = true}, true, found);
  EXPECT_EQ(found, (std::vector<int32_t>{0, 1, 2, -1, -1, -1}));
  select_keys(device, keys.query(), {}, {.keys = 6}, true, found);
  EXPECT_EQ(found, std::vector<int32_t>(6, -1));
}

INSTANTIATE_TEST_SUITE_P(All, SelectKeys,
                         ::testing::Combine(::testing::Values(Numerics::F32, Numerics::Official,
                                                              Numerics::Fast),
                                            ::testing::Values(1, 2, 3, 7)));

TEST(IndexScoresFast, StayNearTheScoresOfUnroundedQueries) {
  ThreadTeam team(1);
  const Device fast(team, Numerics::Fast);
  const Keys keys(Numerics::Fast, 500, 500);
  std::vector<float> found(500);
  index_scores(fast, keys.query(), 0, 500, found);
  double error = 0;
  double norm = 0;
  std::vector<float> key(kDim);
  for (int64_t j = 0; j < 500; ++j) {
    keys.codec.decode(keys.rows.row(j), key.data());
    double score = 0;
    for (int64_t h = 0; h < kHeads; ++h) {
      double dot = 0;
      const auto head = keys.q.part(0, h, kHeads);
      for (size_t d = 0; d < key.size(); ++d) {
        dot += static_cast<double>(head[d]) * static_cast<double>(key[d]);
      }
      score += static_cast<double>(keys.weights[static_cast<size_t>(h)]) * std::max(0.0, dot);
    }
    error += std::pow(static_cast<double>(found[static_cast<size_t>(j)]) - score, 2);
    norm += score * score;
  }
  EXPECT_LT(std::sqrt(error / norm), 0.01);  // the reference's FP4 queries: about 0.1
}

}  // namespace
}  // namespace lethe::ops
