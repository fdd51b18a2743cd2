#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "kernels/kernel_sets.h"
#include "ops/experts.h"
#include "ops/hyper_mix.h"
#include "ops/norm.h"
#include "ops/pooling.h"
#include "ops/rope.h"
#include "ops/router.h"

namespace lethe::ops {
namespace {

/// An f32 matrix as a weight; the matrix must outlive it.
Linear f32_linear(const Matrix& m, LinearRole role = LinearRole::F32) {
  return {.weight = {.encoding = quant::Encoding::F32,
                     .rows = m.rows(),
                     .cols = m.cols(),
                     .data = reinterpret_cast<const std::byte*>(m.values().data()),
                     .row_bytes = m.cols() * int64_t{sizeof(float)}},
          .role = role};
}

Matrix random_matrix(int64_t rows, int64_t cols, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Matrix m(rows, cols);
  for (float& value : m.values()) value = normal(random);
  return m;
}

TEST(Rope, FrequenciesOfTheRealConfiguration) {
  // spec V4.1 section 3, "Check (real config ...)": bits of f_i.
  const RopeTable table(
      64, 160000,
      {.factor = 16, .beta_fast = 32, .beta_slow = 1, .original_max_position_embeddings = 65536});
  const auto f = table.frequencies();
  const auto bits = [&](size_t i) { return std::bit_cast<uint32_t>(f[i]); };
  EXPECT_EQ(f[0], 1.0f);
  EXPECT_EQ(bits(1), 0x3f300a3au);
  EXPECT_EQ(bits(14), 0x3bad3d5eu);
  EXPECT_EQ(bits(15), 0x3b6e4237u);
  EXPECT_EQ(bits(16), 0x3b147ae1u);
  EXPECT_EQ(bits(20), 0x399bb3afu);
  EXPECT_EQ(bits(24), 0x37a3d70cu);
  EXPECT_EQ(bits(31), 0x35187c4du);
}

TEST(Rope, AfterTheNormOfEachHeadInOnePass) {
  constexpr int64_t kHeads = 3;
  const RopeTable table(16, 10000, {});
  const std::vector<int64_t> positions = {0, 7, 100000};
  ThreadTeam team(2);
  for (const Numerics numerics : {Numerics::F32, Numerics::Official, Numerics::Fast}) {
    const Device device(team, numerics);
    const Matrix x = random_matrix(3, kHeads * 64, 5, 3);
    Matrix apart = x;
    device.store_bf16(apart);
    Matrix at_once = apart;
    for (int64_t r = 0; r < apart.rows(); ++r) {
      for (int64_t h = 0; h < kHeads; ++h) head_rms_norm(device, apart.part(r, h, kHeads), 1e-6);
    }
    rope(device, apart, kHeads, table, positions);
    norm_and_rope(device, at_once, kHeads, 1e-6, table, positions);
    EXPECT_TRUE(std::ranges::equal(apart.values(), at_once.values())) << numerics_name(numerics);
    double squares = 0;
    for (const float value : at_once.part(2, 1, kHeads)) {
      squares += static_cast<double>(value) * value;
    }
    EXPECT_NEAR(squares / 64, 1, 0.01);
  }
}

TEST(Rope, InverseUndoesTheRotationAndTouchesOnlyTheTail) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  const RopeTable table(8, 10000, {});
  Matrix x = random_matrix(3, 2 * 20, 1);
  const Matrix before = x;
  const std::vector<int64_t> positions = {0, 17, 1000003};
  rope(device, x, 2, table, positions);
  EXPECT_EQ(x.part(1, 0, 2)[11], before.part(1, 0, 2)[11]);
  EXPECT_NE(x.part(1, 0, 2)[12], before.part(1, 0, 2)[12]);
  EXPECT_EQ(x.part(0, 1, 2)[19], before.part(0, 1, 2)[19]) << "position 0 does not turn";
  rope(device, x, 2, table, positions, /*inverse=*/true);
  for (size_t i = 0; i < x.values().size(); ++i) {
    EXPECT_NEAR(x.values()[i], before.values()[i], 1e-5);
  }
}

/// A view of fn and base.
HyperMixParams hyper_mix_params(const Matrix& fn, const Matrix& base, int64_t streams) {
  static const std::vector<float> scale = {1.0f, 0.7f, 1.3f};
  return {.fn = f32_linear(fn),
          .base = base.row(0),
          .scale = scale,
          .streams = streams,
          .sinkhorn_iterations = 20,
          .norm_eps = 1e-6,
          .hc_eps = 1e-6};
}

TEST(HyperMix, CombIsDoublyStochasticAndExpandSumsItsFirstIndex) {
  ThreadTeam team(2);
  const Device device(team, Numerics::F32);
  constexpr int64_t kStreams = 4;
  constexpr int64_t kDim = 10;
  const Matrix fn = random_matrix((2 + kStreams) * kStreams, kStreams * kDim, 2, 0.3f);
  const Matrix base = random_matrix(1, fn.rows(), 3, 0.5f);
  const HyperMixParams params = hyper_mix_params(fn, base, kStreams);
  Matrix streams = random_matrix(6, kStreams * kDim, 4);
  const HyperMix mix = hyper_mix(device, streams, params);
  for (int64_t t = 0; t < 6; ++t) {
    for (size_t j = 0; j < 4; ++j) {
      float row = 0;
      float column = 0;
      for (size_t k = 0; k < 4; ++k) {
        row += mix.comb.row(t)[j * 4 + k];
        column += mix.comb.row(t)[k * 4 + j];
      }
      EXPECT_NEAR(row, 1.0f, 5e-2) << "the iteration ends on columns";
      EXPECT_NEAR(column, 1.0f, 1e-5);
    }
  }
  const Matrix before = streams;
  const Matrix y = random_matrix(6, kDim, 5);
  hyper_expand(device, streams, y, mix);
  for (int64_t k = 0; k < kStreams; ++k) {
    float expected = mix.post.row(2)[static_cast<size_t>(k)] * y.row(2)[7];
    for (int64_t j = 0; j < kStreams; ++j) {
      expected +=
          mix.comb.row(2)[static_cast<size_t>(j * kStreams + k)] * before.part(2, j, kStreams)[7];
    }
    EXPECT_NEAR(streams.part(2, k, kStreams)[7], expected, 1e-6);
  }
}

// Many tokens may be read in one pass, a few rows with 16 tokens; a token alone is not.
TEST(HyperMix, ATokenGetsTheSameBitsAloneAndAmongMany) {
  constexpr int64_t kTokens = 37;
  for (const auto& [m, dim] : {std::pair<int64_t, int64_t>{4, 132}, {4, 10}, {2, 128}, {3, 16}}) {
    const Matrix fn = random_matrix((2 + m) * m, m * dim, 2, 0.3f);
    const Matrix base = random_matrix(1, fn.rows(), 3, 0.5f);
    const HyperMixParams params = hyper_mix_params(fn, base, m);
    const Matrix streams = random_matrix(kTokens, m * dim, 4);
    ThreadTeam team(3);
    for (const kernels::KernelSet& set : kernels::kernel_sets()) {
      if (set.table == nullptr) continue;
      SCOPED_TRACE(std::string(set.name) + ", " + std::to_string(m * dim) + " columns");
      for (const Numerics numerics : {Numerics::F32, Numerics::Fast}) {
        const Device device(team, numerics, *set.table);
        const HyperMix many = hyper_mix(device, streams, params);
        const Matrix head = hyper_head_mix(device, streams, params);
        for (int64_t t = 0; t < kTokens; ++t) {
          Matrix alone(1, streams.cols());
          std::ranges::copy(streams.row(t), alone.row(0).begin());
          const HyperMix one = hyper_mix(device, alone, params);
          ASSERT_TRUE(std::ranges::equal(many.pre.row(t), one.pre.row(0))) << t;
          ASSERT_TRUE(std::ranges::equal(many.post.row(t), one.post.row(0))) << t;
          ASSERT_TRUE(std::ranges::equal(many.comb.row(t), one.comb.row(0))) << t;
          ASSERT_TRUE(std::ranges::equal(head.row(t), hyper_head_mix(device, alone, params).row(0)))
              << t;
        }
      }
    }
  }
}

TEST(Hadamard, IsItsOwnInverse) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  Matrix x = random_matrix(1, 128, 6);
  const Matrix before = x;
  hadamard(device, x.row(0));
  EXPECT_NEAR(inverse_rms(device, x.row(0), 0), inverse_rms(device, before.row(0), 0), 1e-5);
  hadamard(device, x.row(0));
  for (size_t i = 0; i < 128; ++i) EXPECT_NEAR(x.values()[i], before.values()[i], 1e-5);
}

TEST(SoftmaxPool, WeighsEachChannelByItself) {
  const float values[] = {1, 10, 3, 20};
  const float gates[] = {0, 50, 0, -50};
  const std::vector<PoolRow> rows = {{values, gates}, {values + 2, gates + 2}};
  std::vector<float> out(2);
  softmax_pool(rows, out);
  EXPECT_FLOAT_EQ(out[0], 2.0f);
  EXPECT_FLOAT_EQ(out[1], 10.0f);
}

TEST(Router, BiasChoosesButDoesNotWeigh) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  Matrix gate(3, 1);
  gate.row(0)[0] = 1;
  gate.row(1)[0] = 2;
  gate.row(2)[0] = 3;
  const std::vector<float> bias = {10.0f, 0.0f, 0.0f};
  Matrix x(1, 1);
  x.row(0)[0] = 1;
  const Routes routes =
      route(device, x, {.gate = f32_linear(gate), .bias = bias, .k = 2, .scale = 1.5f}, nullptr);
  EXPECT_EQ(routes.experts.row(0)[0], 0);
  EXPECT_EQ(routes.experts.row(0)[1], 2);
  const auto score = [](double z) { return std::sqrt(std::log1p(std::exp(z))); };
  EXPECT_NEAR(routes.weights.row(0)[0], 1.5 * score(1) / (score(1) + score(3)), 1e-6);
  EXPECT_NEAR(routes.weights.row(0)[0] + routes.weights.row(0)[1], 1.5f, 1e-6);
}

TEST(Router, EqualScoresGoToTheLowerExpert) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  const Matrix gate(5, 2);  // all zero: every expert scores the same
  const std::vector<float> bias(5, 0.0f);
  const Matrix x = random_matrix(1, 2, 9);
  const Routes routes = route(device, x, {.gate = f32_linear(gate), .bias = bias, .k = 3}, nullptr);
  EXPECT_EQ(std::vector<int32_t>(routes.experts.row(0).begin(), routes.experts.row(0).end()),
            (std::vector<int32_t>{0, 1, 2}));
}

TEST(Experts, GateIsClampedFromAboveOnlyAndUpOnBothSides) {
  ThreadTeam team(1);
  const Device device(team, Numerics::F32);
  Matrix one(1, 1);
  one.row(0)[0] = 1;
  const ExpertWeights identity{f32_linear(one), f32_linear(one), f32_linear(one)};
  const auto run = [&](float value) {
    Matrix x(1, 1);
    x.row(0)[0] = value;
    return expert(device, x, identity, 2.0f, {}).row(0)[0];
  };
  const auto silu = [](float v) { return v / (1.0f + std::exp(-v)); };
  EXPECT_NEAR(run(1.5f), silu(1.5f) * 1.5f, 1e-6);
  EXPECT_NEAR(run(7.0f), silu(2.0f) * 2.0f, 1e-6);
  EXPECT_NEAR(run(-7.0f), silu(-7.0f) * -2.0f, 1e-6);
}

TEST(Experts, RoutedSumIsThatOfTheExpertsAlone) {
  ThreadTeam team(2);
  const Device device(team, Numerics::F32);
  std::vector<Matrix> matrices;
  for (unsigned i = 0; i < 12; ++i) matrices.push_back(random_matrix(6, 6, 20 + i, 0.4f));
  std::vector<ExpertWeights> experts;
  for (size_t e = 0; e < 4; ++e) {
    experts.push_back({f32_linear(matrices[3 * e]), f32_linear(matrices[3 * e + 1]),
                       f32_linear(matrices[3 * e + 2])});
  }
  const Matrix x = random_matrix(5, 6, 40);
  Routes routes{IndexMatrix(5, 2), Matrix(5, 2), {}};
  for (int64_t t = 0; t < 5; ++t) {
    routes.experts.row(t)[0] = static_cast<int32_t>((t + 3) % 4);
    routes.experts.row(t)[1] = static_cast<int32_t>(t % 2);
    if (routes.experts.row(t)[0] == routes.experts.row(t)[1]) routes.experts.row(t)[1] = 2;
    routes.weights.row(t)[0] = 0.3f;
    routes.weights.row(t)[1] = 0.9f;
  }
  Matrix out(5, 6);
  moe_experts(device, x, routes, {.routed = experts, .shared = &experts[3]}, out);
  const Matrix shared = expert(device, x, experts[3], 0, {});
  for (int64_t t = 0; t < 5; ++t) {
    Matrix row(1, 6);
    std::copy(x.row(t).begin(), x.row(t).end(), row.row(0).begin());
    std::vector<double> expected(6);
    for (size_t i = 0; i < 2; ++i) {
      const std::vector<float> scale = {routes.weights.row(t)[i]};
      const Matrix y =
          expert(device, row, experts[static_cast<size_t>(routes.experts.row(t)[i])], 0, scale);
      for (size_t d = 0; d < 6; ++d) expected[d] += static_cast<double>(y.row(0)[d]);
    }
    for (size_t d = 0; d < 6; ++d) expected[d] += static_cast<double>(shared.row(t)[d]);
    for (size_t d = 0; d < 6; ++d) EXPECT_NEAR(out.row(t)[d], expected[d], 1e-5);
  }
}

}  // namespace
}  // namespace lethe::ops
