#include "ops/experts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "kernels/kernel_sets.h"
#include "kernels/random_weights.h"
#include "ops/product.h"

// The experts of a layer together: whatever is grouped with a token, and however the work is cut,
// the token gets the same bits.

namespace lethe::ops {
namespace {

using lethe::testing::OwnedWeight;
using lethe::testing::random_weight;
using quant::Encoding;

constexpr int64_t kDim = 512;
constexpr int64_t kWidth = 256;
constexpr int64_t kTokens = 41;
constexpr int64_t kExperts = 5;
constexpr int64_t kPerToken = 2;

/// Experts with weights of some encoding, and a shared one of another.
class Layer {
 public:
  Layer(Encoding routed, Encoding shared) {
    for (int64_t e = 0; e <= kExperts; ++e) {
      const Encoding encoding = e < kExperts ? routed : shared;
      const auto seed = static_cast<uint32_t>(3 * e);
      const auto linear = [&](int64_t rows, int64_t cols, uint32_t which) {
        owned_.push_back(random_weight(encoding, rows, cols, seed + which));
        return Linear{.weight = owned_.back().weight, .role = LinearRole::Fp8};
      };
      experts_.push_back(
          {linear(kWidth, kDim, 0), linear(kWidth, kDim, 1), linear(kDim, kWidth, 2)});
    }
  }

  ExpertLayer view() const {
    return {.routed = std::span(experts_).first(kExperts),
            .limit = 5,
            .shared = &experts_.back(),
            .shared_limit = 7};
  }

 private:
  std::vector<OwnedWeight> owned_;
  std::vector<ExpertWeights> experts_;
};

Matrix random_tokens(int64_t tokens) {
  std::mt19937 random(1);
  std::normal_distribution<float> gaussian(0, 1e-3F);
  Matrix x(tokens, kDim);
  for (float& value : x.values()) value = gaussian(random);
  return x;
}

Routes random_routes(int64_t tokens) {
  std::mt19937 random(2);
  Routes routes{IndexMatrix(tokens, kPerToken), Matrix(tokens, kPerToken), {}};
  for (int64_t t = 0; t < tokens; ++t) {
    const auto first = static_cast<int32_t>(random() % kExperts);
    routes.experts.row(t)[0] = first;
    routes.experts.row(t)[1] = static_cast<int32_t>(
        (first + 1 + static_cast<int32_t>(random() % (kExperts - 1))) % kExperts);
    routes.weights.row(t)[0] = 0.7F;
    routes.weights.row(t)[1] = 0.4F;
  }
  return routes;
}

/// Tokens [begin, end) alone.
Matrix run(const Device& device, const Matrix& x, const Routes& routes, const ExpertLayer& layer,
           int64_t begin, int64_t end) {
  Matrix part(end - begin, kDim);
  Routes of_part{IndexMatrix(end - begin, kPerToken), Matrix(end - begin, kPerToken), {}};
  for (int64_t t = begin; t < end; ++t) {
    std::ranges::copy(x.row(t), part.row(t - begin).begin());
    std::ranges::copy(routes.experts.row(t), of_part.experts.row(t - begin).begin());
    std::ranges::copy(routes.weights.row(t), of_part.weights.row(t - begin).begin());
  }
  Matrix out(end - begin, kDim);
  moe_experts(device, part, of_part, layer, out);
  return out;
}

class ExpertsTest : public ::testing::TestWithParam<Numerics> {};

TEST_P(ExpertsTest, GiveTheSameBitsAloneAndInABatchOnAnyTeamAndSet) {
  const Matrix x = random_tokens(kTokens);
  const Routes routes = random_routes(kTokens);
  const std::pair<Encoding, Encoding> mixtures[] = {{Encoding::MXFP4, Encoding::Q8_0},
                                                    {Encoding::Fp4Row, Encoding::Fp8Row},
                                                    {Encoding::Q2_K, Encoding::BF16}};
  for (const auto& [routed, shared] : mixtures) {
    const Layer layer(routed, shared);
    for (const kernels::KernelSet& set : kernels::kernel_sets()) {
      if (set.table == nullptr) continue;
      const bool own = set.table->own_bits[static_cast<size_t>(shared)];
      ThreadTeam one(1);
      const Device reference(one, GetParam(), own ? *set.table : kernels::scalar_kernels());
      for (const int threads : {1, 3}) {
        ThreadTeam team(threads);
        const Device device(team, GetParam(), *set.table);
        const Matrix together = run(device, x, routes, layer.view(), 0, kTokens);
        for (int64_t t = 0; t < kTokens; t += 5) {
          const Matrix alone = run(reference, x, routes, layer.view(), t, t + 1);
          ASSERT_TRUE(std::ranges::equal(together.row(t), alone.row(0)))
              << set.name << ", token " << t << ", threads " << threads << ", "
              << quant::encoding_name(routed);
        }
      }
    }
  }
}

TEST_P(ExpertsTest, BlocksOfVisitsDoNotShow) {
  constexpr int64_t kMany = kTokensTogether + 23;  // so many visits has the shared expert
  const Matrix x = random_tokens(kMany);
  const Routes routes = random_routes(kMany);
  const Layer layer(Encoding::MXFP4, Encoding::Q8_0);
  ThreadTeam team(2);
  const Device device(team, GetParam());
  const Matrix together = run(device, x, routes, layer.view(), 0, kMany);
  for (const int64_t t : {int64_t{0}, kTokensTogether - 1, kTokensTogether, kMany - 1}) {
    const Matrix alone = run(device, x, routes, layer.view(), t, t + 1);
    EXPECT_TRUE(std::ranges::equal(together.row(t), alone.row(0))) << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, ExpertsTest,
                         ::testing::Values(Numerics::F32, Numerics::Official, Numerics::Fast));

}  // namespace
}  // namespace lethe::ops
