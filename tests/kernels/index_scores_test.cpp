// Integer index scores: every set gives the scalar set's bits, and those are the formula's.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <random>
#include <vector>

#include "kernels/kernel_sets.h"
#include "kernels/kernel_table.h"
#include "tensor/rounding.h"

namespace lethe::kernels {
namespace {

/// Random codes of a query as the kernels read them.
struct Query {
  int64_t heads;
  int64_t dim;
  std::vector<int8_t> plain;  // [heads][dim]
  std::vector<int8_t> codes;
  std::vector<int32_t> biases;
  std::vector<float> weights;

  Query(int64_t num_heads, int64_t dims, std::mt19937& random)
      : heads((num_heads + 15) / 16 * 16), dim(dims), plain(static_cast<size_t>(heads * dim)) {
    std::uniform_int_distribution<int> code(-127, 127);
    for (int64_t i = 0; i < num_heads * dim; ++i) {
      plain[static_cast<size_t>(i)] = static_cast<int8_t>(code(random));
    }
    std::normal_distribution<float> normal;
    for (int64_t h = 0; h < heads; ++h) weights.push_back(h < num_heads ? normal(random) : 0);
    for (int64_t v = 0; v < heads / 16; ++v) {
      for (int64_t g = 0; g < dim / 32; ++g) add_group(v, g);
    }
  }

  void add_group(int64_t v, int64_t g) {
    std::vector<int32_t> sums(16);
    for (int64_t i = 0; i < 8; ++i) {
      for (int64_t h = 0; h < 16; ++h) {
        for (int64_t m = 0; m < 4; ++m) {
          const int8_t code = at(16 * v + h, 32 * g + index_quad_dim(i, m));
          codes.push_back(code);
          sums[static_cast<size_t>(h)] += code;
        }
      }
    }
    for (const int32_t sum : sums) biases.push_back(-12 * sum);
  }

  int8_t at(int64_t h, int64_t d) const { return plain[static_cast<size_t>(h * dim + d)]; }
  IndexQueryCodes view() const { return {heads, dim, codes.data(), biases.data(), weights.data()}; }
};

std::vector<std::byte> random_keys(int64_t count, int64_t stride, int64_t dim,
                                   std::mt19937& random) {
  std::vector<std::byte> keys(static_cast<size_t>(count * stride));
  for (std::byte& byte : keys) byte = static_cast<std::byte>(random());
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t g = 0; g < dim / 32; ++g) {
      auto& scale = keys[static_cast<size_t>(j * stride + dim / 2 + g)];
      const bool odd = random() % 50 == 0;  // 2^-127 and NaN
      scale = odd ? static_cast<std::byte>(random() % 2 == 0 ? 0 : 255)
                  : static_cast<std::byte>(110 + random() % 20);
    }
  }
  return keys;
}

double formula(const Query& query, const std::byte* key) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(key);
  double score = 0;
  for (int64_t h = 0; h < query.heads; ++h) {
    double dot = 0;
    for (int64_t d = 0; d < query.dim; ++d) {
      const auto code = static_cast<uint8_t>(d % 2 == 0 ? bytes[d / 2] & 15 : bytes[d / 2] >> 4);
      dot += 2.0 * static_cast<double>(e2m1_to_f32(code)) *
             static_cast<double>(e8m0_to_f32(bytes[query.dim / 2 + d / 32])) *
             static_cast<double>(query.at(h, d));
    }
    if (dot > 0) score += static_cast<double>(query.weights[static_cast<size_t>(h)]) * dot;
  }
  return score;
}

void expect_scalar_bits(const Query& query, const std::vector<std::byte>& keys, int64_t stride,
                        int64_t count) {
  std::vector<float> expected(static_cast<size_t>(count));
  scalar_kernels().index_scores(query.view(), keys.data(), stride, count, expected.data());
  for (const KernelSet& set : kernel_sets()) {
    if (set.table == nullptr) continue;
    std::vector<float> found(static_cast<size_t>(count) + 1, 7.0F);
    set.table->index_scores(query.view(), keys.data(), stride, count, found.data());
    for (size_t j = 0; j < expected.size(); ++j) {
      if (std::isnan(expected[j]) && std::isnan(found[j])) continue;
      EXPECT_EQ(std::bit_cast<uint32_t>(found[j]), std::bit_cast<uint32_t>(expected[j]))
          << set.name << ": " << query.heads << " heads of " << query.dim << ", key " << j;
    }
    EXPECT_EQ(found.back(), 7.0F) << set.name << " wrote past the end";
  }
}

TEST(IndexScoresKernel, AllSetsGiveTheScalarBits) {
  std::mt19937 random(5);
  for (const auto& [heads, dim, count] : {std::tuple{64, 128, 67},
                                          {32, 128, 64},
                                          {5, 32, 9},
                                          {4, 32, 64},
                                          {3, 64, 300},
                                          {8, 32, 200},
                                          {13, 96, 90},
                                          {16, 32, 100},
                                          {48, 96, 3},
                                          {16, 160, 1},
                                          {80, 64, 2},
                                          {64, 512, 5}}) {
    const Query query(heads, dim, random);
    const int64_t stride = dim / 2 + dim / 32 + 3;  // unaligned
    const std::vector<std::byte> keys = random_keys(count, stride, dim, random);
    expect_scalar_bits(query, keys, stride, count);
  }
}

/// Scales that lie 0 to 4 powers of two apart, at both ends and in the middle of what there is.
TEST(IndexScoresKernel, AllSetsGiveTheScalarBitsOfNearScales) {
  std::mt19937 random(7);
  for (const int heads : {64, 16, 80, 128, 130}) {
    Query query(heads, 128, random);
    if (heads == 16) {  // the largest sums there can be
      std::fill(query.codes.begin(), query.codes.end(), int8_t{-127});
      std::fill(query.biases.begin(), query.biases.end(), 12 * 32 * 127);
    }
    for (const int least : {0, 1, 2, 60, 127, 214, 217, 218, 221, 230}) {
      for (int spread = 0; spread <= 4; ++spread) {
        const int64_t count = 41;
        std::vector<std::byte> keys = random_keys(count, 68, 128, random);
        for (int64_t j = 0; j < count; ++j) {
          for (int64_t g = 0; g < 4; ++g) {
            const int above = static_cast<int>(random()) % (spread + 1);
            keys[static_cast<size_t>(68 * j + 64 + g)] =
                static_cast<std::byte>(least + std::abs(above));
          }
          if (heads == 16 && j % 2 == 0) std::fill_n(keys.begin() + 68 * j, 64, std::byte{0xff});
        }
        expect_scalar_bits(query, keys, 68, count);
      }
    }
  }
}

TEST(IndexScoresKernel, AreTheFormula) {
  std::mt19937 random(6);
  const Query query(64, 128, random);
  const std::vector<std::byte> keys = random_keys(200, 68, 128, random);
  std::vector<float> found(200);
  kernel_table().index_scores(query.view(), keys.data(), 68, 200, found.data());
  for (size_t j = 0; j < found.size(); ++j) {
    const std::byte* const key = keys.data() + 68 * j;
    const double expected = formula(query, key);
    if (std::isnan(expected)) continue;
    double magnitude = 1e-30;  // of what is added up
    for (int64_t g = 0; g < 4; ++g) {
      const auto scale = e8m0_to_f32(static_cast<uint8_t>(key[64 + g]));
      if (!std::isnan(scale)) magnitude += static_cast<double>(scale) * 64 * 12 * 127 * 32;
    }
    bool has_nan = false;
    for (int64_t g = 0; g < 4; ++g) has_nan |= key[64 + g] == std::byte{255};
    if (has_nan) continue;
    EXPECT_NEAR(static_cast<double>(found[j]), expected, 1e-6 * magnitude) << "key " << j;
  }
}

}  // namespace
}  // namespace lethe::kernels
