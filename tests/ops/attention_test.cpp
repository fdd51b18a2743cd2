#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/index_scores.h"
#include "ops/sparse_attention.h"
#include "ops/top_k.h"

namespace lethe::ops {
namespace {

constexpr int64_t kDim = 24;
constexpr int64_t kHeads = 5;

Matrix random_matrix(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& value : m.values()) value = normal(random);
  return m;
}

RowStore store_of(const Matrix& rows, const RowCodec& codec) {
  RowStore store(codec.row_bytes(), 16);
  store.append(rows.rows());
  for (int64_t i = 0; i < rows.rows(); ++i) {
    codec.encode(rows.row(i).data(), store.mutable_row(i));
  }
  return store;
}

/// softmax over the keys and the sink, as the formula says.
std::vector<double> attend_plainly(std::span<const float> q,
                                   const std::vector<std::span<const float>>& keys, double sink,
                                   double scale) {
  std::vector<double> weights;
  double denominator = std::exp(sink);
  for (const auto& key : keys) {
    double dot = 0;
    for (size_t d = 0; d < q.size(); ++d) {
      dot += static_cast<double>(q[d]) * static_cast<double>(key[d]);
    }
    weights.push_back(std::exp(dot * scale));
    denominator += weights.back();
  }
  std::vector<double> out(q.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t d = 0; d < q.size(); ++d) {
      out[d] += weights[i] / denominator * static_cast<double>(keys[i][d]);
    }
  }
  return out;
}

class SparseAttention : public ::testing::TestWithParam<int> {};

TEST_P(SparseAttention, EqualsThePlainFormula) {
  constexpr int64_t kWindow = 70;
  constexpr int64_t kTokens = 300;
  constexpr int64_t kRatio = 4;
  ThreadTeam team(GetParam());
  const Device device(team, Numerics::F32);
  const RowCodec codec(Numerics::F32, RowCodec::Kind::Fp8, kDim, 8);
  const Matrix window = random_matrix(kTokens, kDim, 1);
  const Matrix entries = random_matrix(kTokens / kRatio, kDim, 2);
  const Matrix q = random_matrix(kTokens, kHeads * kDim, 3);
  const RowStore window_rows = store_of(window, codec);
  const RowStore entry_rows = store_of(entries, codec);
  const std::vector<float> sinks = {0.5f, -1.0f, 2.0f, 0.0f, -30.0f};

  IndexMatrix selected(kTokens, 9);
  std::mt19937 random(4);
  for (int64_t t = 0; t < kTokens; ++t) {
    const int64_t visible = (t + 1) / kRatio;
    for (size_t i = 0; i < 9 && static_cast<int64_t>(i) < visible; ++i) {
      selected.row(t)[i] = static_cast<int32_t>((static_cast<int64_t>(i) * 7 + t) % visible);
    }
  }
  for (const bool all_entries : {false, true}) {
    SparseAttentionArgs args{.row_count = kTokens,
                             .heads = kHeads,
                             .window_size = kWindow,
                             .window = &window_rows,
                             .window_codec = codec,
                             .compressed = {.rows = &entry_rows,
                                            .codec = codec,
                                            .ratio = kRatio,
                                            .selected = all_entries ? nullptr : &selected},
                             .sinks = sinks,
                             .scale = 0.2f};
    Matrix out(kTokens, kHeads * kDim);
    sparse_attention(device, q, args, out);
    for (const int64_t t : {int64_t{0}, int64_t{3}, int64_t{69}, int64_t{70}, int64_t{299}}) {
      std::vector<std::span<const float>> keys;
      for (int64_t p = std::max<int64_t>(0, t - kWindow + 1); p <= t; ++p) {
        keys.push_back(window.row(p));
      }
      if (all_entries) {
        for (int64_t j = 0; j < (t + 1) / kRatio; ++j) keys.push_back(entries.row(j));
      } else {
        for (const int32_t j : selected.row(t)) {
          if (j >= 0) keys.push_back(entries.row(j));
        }
      }
      for (int64_t h = 0; h < kHeads; ++h) {
        const std::vector<double> expected =
            attend_plainly(q.part(t, h, kHeads), keys, sinks[static_cast<size_t>(h)], 0.2f);
        const auto found = out.part(t, h, kHeads);
        for (size_t d = 0; d < found.size(); ++d) {
          EXPECT_NEAR(found[d], expected[d], 1e-5) << "token " << t << ", head " << h;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, SparseAttention, ::testing::Values(1, 2, 7));

TEST(TopK, EqualsASortWithTiesToTheLowerIndex) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<float> scores(random() % 300);
    for (float& score : scores) {
      const auto draw = random() % 12;  // many ties, some invisible
      score = draw == 0 ? -INFINITY : static_cast<float>(draw);
    }
    std::vector<int32_t> order;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] > -INFINITY) order.push_back(static_cast<int32_t>(i));
    }
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    const size_t k = random() % 40;
    order.resize(std::min(order.size(), k));
    EXPECT_EQ(top_k(scores, static_cast<int64_t>(k)), order);
  }
}

TEST(IndexScores, ReluOnEachHeadBeforeItsSignedWeight) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  const RowCodec codec(Numerics::F32, RowCodec::Kind::Fp4, 32, 8);
  const Matrix keys = random_matrix(40, 32, 5);
  const Matrix q = random_matrix(1, 3 * 32, 6);
  const std::vector<float> weights = {0.5f, -2.0f, 1.0f};
  const RowStore rows = store_of(keys, codec);
  std::vector<float> found(30);
  index_scores(device, {q.row(0), weights, &rows, codec}, 10, 40, found);
  for (int64_t j = 10; j < 40; ++j) {
    double expected = 0;
    for (int64_t h = 0; h < 3; ++h) {
      double dot = 0;
      for (size_t d = 0; d < 32; ++d) {
        dot += static_cast<double>(q.part(0, h, 3)[d]) * static_cast<double>(keys.row(j)[d]);
      }
      expected += static_cast<double>(weights[static_cast<size_t>(h)]) * std::max(0.0, dot);
    }
    EXPECT_NEAR(found[static_cast<size_t>(j - 10)], expected, 1e-4);
  }
}

}  // namespace
}  // namespace lethe::ops
