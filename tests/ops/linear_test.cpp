#include "ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "kernels/kernel_sets.h"
#include "ops/product.h"
#include "tensor/rounding.h"

// A product's bits do not depend on how tokens and rows are shared out, nor on the kernel set.

namespace lethe::ops {
namespace {

constexpr int64_t kRows = 70;  // more than a block of rows, and not a multiple of one
constexpr int64_t kColumns = 100;
constexpr int64_t kTokens = 37;

struct RandomBf16 {
  std::vector<uint16_t> bits = std::vector<uint16_t>(kRows * kColumns);
  Linear linear;

  explicit RandomBf16(LinearRole role) {
    std::mt19937 random(1);
    std::normal_distribution<float> gaussian;
    for (uint16_t& b : bits) b = bf16_bits(gaussian(random));
    linear.weight.encoding = quant::Encoding::BF16;
    linear.weight.rows = kRows;
    linear.weight.cols = kColumns;
    linear.weight.row_bytes = 2 * kColumns;
    linear.weight.data = reinterpret_cast<const std::byte*>(bits.data());
    linear.role = role;
  }
};

Matrix random_tokens(int64_t tokens) {
  Matrix x(tokens, kColumns);
  std::mt19937 random(2);
  std::normal_distribution<float> gaussian;
  for (float& value : x.values()) value = round_to_bf16(gaussian(random));
  return x;
}

std::vector<float> row_of(const Matrix& m, int64_t r) {
  return {m.row(r).begin(), m.row(r).end()};
}

class LinearTest : public ::testing::TestWithParam<Numerics> {};

TEST_P(LinearTest, GivesTheSameBitsAloneAndInABatchOnAnyTeamAndSet) {
  const RandomBf16 w(LinearRole::Head);
  const Matrix x = random_tokens(kTokens);
  ThreadTeam one(1);
  for (const kernels::KernelSet& set : kernels::kernel_sets()) {
    if (set.table == nullptr) continue;
    // Of the scalar set, unless this one has an arithmetic of its own.
    const bool own = set.table->own_bits[static_cast<size_t>(w.linear.weight.encoding)];
    const Device reference(one, GetParam(), own ? *set.table : kernels::scalar_kernels());
    const Matrix expected = linear(reference, x, w.linear);
    for (const int threads : {1, 3}) {
      ThreadTeam team(threads);
      const Device device(team, GetParam(), *set.table);
      const Matrix together = linear(device, x, w.linear);
      for (int64_t t = 0; t < kTokens; ++t) {
        Matrix alone(1, kColumns);
        std::ranges::copy(x.row(t), alone.row(0).begin());
        ASSERT_EQ(row_of(together, t), row_of(expected, t)) << set.name << ", token " << t;
        ASSERT_EQ(row_of(linear(device, alone, w.linear), 0), row_of(expected, t))
            << set.name << ", token " << t << " alone";
      }
    }
  }
}

// The activations of compressors are narrowed only where that is faster.
TEST_P(LinearTest, CompressorsAreNarrowedByTheSetsThatMultiplyBf16) {
  const RandomBf16 f32(LinearRole::F32);
  const RandomBf16 compressor(LinearRole::Compressor);
  const RandomBf16 head(LinearRole::Head);
  Matrix x = random_tokens(kTokens);
  for (float& value : x.values()) value *= 1.001f;  // no longer bf16
  ThreadTeam team(2);
  for (const kernels::KernelSet& set : kernels::kernel_sets()) {
    if (set.table == nullptr) continue;
    const Device device(team, GetParam(), *set.table);
    const bool narrows = GetParam() == Numerics::Fast &&
                         set.table->own_bits[static_cast<size_t>(quant::Encoding::BF16)];
    const Matrix expected = linear(device, x, narrows ? head.linear : f32.linear);
    const Matrix got = linear(device, x, compressor.linear);
    EXPECT_TRUE(std::ranges::equal(got.values(), expected.values())) << set.name;
    if (GetParam() == Numerics::Fast) {
      EXPECT_FALSE(std::ranges::equal(linear(device, x, f32.linear).values(),
                                      linear(device, x, head.linear).values()));
    }
  }
}

TEST_P(LinearTest, GroupedProductsAreProductsOfColumns) {
  constexpr int64_t kGroups = 7;
  const RandomBf16 w(LinearRole::Head);
  Matrix x(kTokens, kGroups * kColumns);
  std::mt19937 random(3);
  std::normal_distribution<float> gaussian;
  for (float& value : x.values()) value = round_to_bf16(gaussian(random));
  ThreadTeam team(2);
  const Device device(team, GetParam());
  const Matrix grouped = grouped_linear(device, x, w.linear, kGroups);
  for (int64_t g = 0; g < kGroups; ++g) {
    Matrix part(kTokens, kColumns);
    for (int64_t t = 0; t < kTokens; ++t) {
      std::ranges::copy(x.part(t, g, kGroups), part.row(t).begin());
    }
    const Matrix all = linear(device, part, w.linear);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t r = g * kRows / kGroups; r < (g + 1) * kRows / kGroups; ++r) {
        ASSERT_EQ(grouped.row(t)[static_cast<size_t>(r)], all.row(t)[static_cast<size_t>(r)]);
      }
    }
  }
}

TEST_P(LinearTest, BlocksOfTokensDoNotShow) {
  constexpr int64_t kGroups = 2;
  constexpr int64_t kMany = 2 * kTokensTogether + 19;
  const RandomBf16 w(LinearRole::Head);
  Matrix x(kMany, kGroups * kColumns);
  std::mt19937 random(4);
  std::normal_distribution<float> gaussian;
  for (float& value : x.values()) value = round_to_bf16(gaussian(random));
  ThreadTeam team(2);
  const Device device(team, GetParam());
  const Matrix together = grouped_linear(device, x, w.linear, kGroups);
  for (const int64_t t :
       {int64_t{0}, int64_t{63}, int64_t{64}, kTokensTogether - 1, kTokensTogether,
        2 * kTokensTogether - 1, 2 * kTokensTogether, kMany - 1}) {
    Matrix alone(1, x.cols());
    std::ranges::copy(x.row(t), alone.row(0).begin());
    EXPECT_EQ(row_of(together, t), row_of(grouped_linear(device, alone, w.linear, kGroups), 0))
        << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearTest,
                         ::testing::Values(Numerics::F32, Numerics::Official, Numerics::Fast),
                         [](const auto& param) { return std::string(numerics_name(param.param)); });

}  // namespace
}  // namespace lethe::ops
