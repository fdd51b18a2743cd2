// Attention of `fast`: near the formula on the rows as kept, and the same bits however it is shared
// out.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "ops/sparse_attention.h"

namespace lethe::ops {
namespace {

constexpr int64_t kDim = 96;
constexpr int64_t kRope = 32;
constexpr int64_t kHeads = 37;
constexpr int64_t kWindow = 70;
constexpr int64_t kTokens = 2600;
constexpr int64_t kRatio = 2;
constexpr int64_t kSelected = 40;

Matrix random_matrix(int64_t rows, int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& value : m.values()) value = normal(random);
  return m;
}

struct Rows {
  RowCodec codec;
  RowStore store;
  Matrix decoded;

  Rows(RowCodec::Kind kind, int64_t count, unsigned seed)
      : codec(Numerics::Fast, kind, kDim, kRope),
        store(codec.row_bytes(), 64),
        decoded(random_matrix(count, kDim, seed)) {
    store.append(count);
    for (int64_t i = 0; i < count; ++i) {
      codec.encode(decoded.row(i).data(), store.mutable_row(i));
      codec.decode(store.row(i), decoded.row(i).data());
    }
  }
};

class FastAttention : public ::testing::TestWithParam<bool> {
 protected:
  bool v41() const { return GetParam(); }

  const Rows window_{v41() ? RowCodec::Kind::Fp8 : RowCodec::Kind::Fp8RopeBf16, kTokens, 1};
  const Rows entries_{v41() ? RowCodec::Kind::Fp4E4m3 : RowCodec::Kind::Fp8RopeBf16,
                      kTokens / kRatio, 2};
  const std::vector<float> sinks_ = std::vector<float>(kHeads, 0.5f);
  IndexMatrix selected_{kTokens, kSelected};

  void SetUp() override {
    std::mt19937 random(4);
    for (int64_t t = 0; t < kTokens; ++t) {
      const int64_t visible = (t + 1) / kRatio;
      for (int64_t i = 0; i < std::min(kSelected, visible); ++i) {
        selected_.row(t)[static_cast<size_t>(i)] =
            static_cast<int32_t>(static_cast<int64_t>(random()) % visible);
      }
    }
  }

  /// Queries [begin, begin + rows of q) as a batch of their own.
  Matrix run(int threads, const Matrix& q, int64_t begin, const IndexMatrix* selected) const {
    ThreadTeam team(threads);
    const Device device(team, Numerics::Fast);
    Matrix out(q.rows(), q.cols());
    sparse_attention(device, q,
                     {.row_count = q.rows(),
                      .position = begin,
                      .heads = kHeads,
                      .window_size = kWindow,
                      .window = &window_.store,
                      .window_codec = window_.codec,
                      .compressed = {.rows = &entries_.store,
                                     .codec = entries_.codec,
                                     .ratio = kRatio,
                                     .selected = selected},
                      .sinks = sinks_,
                      .scale = 0.1f},
                     out);
    return out;
  }

  IndexMatrix selected_of(int64_t begin, int64_t count) const {
    IndexMatrix part(count, kSelected);
    for (int64_t i = 0; i < count; ++i) {
      const auto from = selected_.row(begin + i);
      std::copy(from.begin(), from.end(), part.row(i).begin());
    }
    return part;
  }

  std::vector<std::span<const float>> keys_of(int64_t t, bool all) const {
    std::vector<std::span<const float>> keys;
    for (int64_t p = std::max<int64_t>(0, t - kWindow + 1); p <= t; ++p) {
      keys.push_back(window_.decoded.row(p));
    }
    for (int64_t j = 0; all && j < (t + 1) / kRatio; ++j) keys.push_back(entries_.decoded.row(j));
    for (const int32_t j : selected_.row(t)) {
      if (!all && j >= 0) keys.push_back(entries_.decoded.row(j));
    }
    return keys;
  }

  void expect_formula(std::span<const float> q, int64_t t, bool all,
                      std::span<const float> found) const {
    double denominator = std::exp(0.5);
    std::vector<double> sum(kDim);
    for (const auto& key : keys_of(t, all)) {
      double dot = 0;
      for (size_t d = 0; d < kDim; ++d) {
        dot += static_cast<double>(q[d]) * static_cast<double>(key[d]);
      }
      const double e = std::exp(dot * 0.1);
      denominator += e;
      for (size_t d = 0; d < kDim; ++d) sum[d] += e * static_cast<double>(key[d]);
    }
    for (size_t d = 0; d < kDim; ++d) EXPECT_NEAR(found[d], sum[d] / denominator, 0.01);
  }
};

TEST_P(FastAttention, IsNearTheFormula) {
  for (const int64_t t : {int64_t{0}, int64_t{1}, int64_t{69}, int64_t{70}, kTokens - 1}) {
    const Matrix q = random_matrix(1, kHeads * kDim, 3);
    const IndexMatrix selected = selected_of(t, 1);
    for (const bool all : {false, true}) {
      const Matrix out = run(2, q, t, all ? nullptr : &selected);
      for (int64_t h = 0; h < kHeads; ++h) {
        expect_formula(q.part(0, h, kHeads), t, all, out.part(0, h, kHeads));
      }
    }
  }
}

TEST_P(FastAttention, SameBitsHoweverItIsSharedOut) {
  constexpr int64_t kBegin = kTokens - 9;  // several segments of entries
  const Matrix q = random_matrix(9, kHeads * kDim, 5);
  const IndexMatrix selected = selected_of(kBegin, 9);
  for (const bool all : {false, true}) {
    const Matrix expected = run(1, q, kBegin, all ? nullptr : &selected);
    for (const int threads : {2, 3, 7, 20}) {
      const Matrix found = run(threads, q, kBegin, all ? nullptr : &selected);
      EXPECT_TRUE(
          std::equal(found.values().begin(), found.values().end(), expected.values().begin()))
          << threads << " threads";
    }
    for (int64_t i = 0; i < 9; ++i) {  // token by token
      Matrix one(1, q.cols());
      std::copy(q.row(i).begin(), q.row(i).end(), one.row(0).begin());
      const IndexMatrix chosen = selected_of(kBegin + i, 1);
      const Matrix found = run(3, one, kBegin + i, all ? nullptr : &chosen);
      EXPECT_TRUE(std::equal(found.values().begin(), found.values().end(), expected.row(i).begin()))
          << "token " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FastAttention, ::testing::Bool(), [](const auto& family) {
  return std::string(family.param ? "V41" : "V4");
});

}  // namespace
}  // namespace lethe::ops
