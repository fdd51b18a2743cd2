// silu(gate) * up: every set gives the scalar set's bits, and those are the formula's.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/kernel_sets.h"

namespace lethe::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> gates() {
  std::vector<float> out = {0,   -0.0F, 1,    -1,     87,        88,         89,   200,  -86,
                            -87, -88,   -200, 1e-30F, kInfinity, -kInfinity, kNaN, 3e38F};
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 8);
  while (out.size() < 1003) out.push_back(normal(random));
  return out;
}

std::vector<float> ups(size_t size) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 6);
  std::vector<float> out(size);
  std::generate(out.begin(), out.end(), [&] { return normal(random); });
  return out;
}

TEST(Swiglu, AllSetsGiveTheScalarBits) {
  const std::vector<float> up = ups(gates().size());
  for (const float limit : {0.0F, 7.0F}) {
    for (const int64_t n : {0, 1, 15, 16, 17, 63, 1003}) {
      std::vector<float> expected = gates();
      scalar_kernels().swiglu(expected.data(), up.data(), n, limit, 0.625F);
      for (const KernelSet& set : kernel_sets()) {
        if (set.table == nullptr) continue;
        std::vector<float> found = gates();
        set.table->swiglu(found.data(), up.data(), n, limit, 0.625F);
        for (size_t i = 0; i < found.size(); ++i) {
          if (std::isnan(expected[i]) && std::isnan(found[i])) continue;
          EXPECT_EQ(std::bit_cast<uint32_t>(found[i]), std::bit_cast<uint32_t>(expected[i]))
              << set.name << ", " << n << " values, number " << i;
        }
      }
    }
  }
}

TEST(Swiglu, IsTheFormula) {
  const std::vector<float> gate = gates();
  const std::vector<float> up = ups(gate.size());
  for (const float limit : {0.0F, 7.0F}) {
    std::vector<float> found = gate;
    kernel_table().swiglu(found.data(), up.data(), std::ssize(gate), limit, 2.5F);
    for (size_t i = 0; i < gate.size(); ++i) {
      const auto a = static_cast<double>(limit > 0 ? std::min(gate[i], limit) : gate[i]);
      const auto b = static_cast<double>(limit > 0 ? std::clamp(up[i], -limit, limit) : up[i]);
      const double silu = a < -87 ? 0 : a / (1 + std::exp(-a));
      const double expected = 2.5 * silu * b;
      if (gate[i] == -kInfinity) {
        EXPECT_FALSE(std::isfinite(found[i]));
      } else if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(found[i])) << gate[i];
      } else if (std::isfinite(expected) && std::abs(expected) < 3e38) {
        EXPECT_NEAR(static_cast<double>(found[i]), expected, 6e-7 * std::abs(expected) + 1e-34)
            << gate[i];
      }
    }
  }
}

}  // namespace
}  // namespace lethe::kernels
