#include "kernels/kernel_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/activation_batch.h"
#include "kernels/kernel_table.h"
#include "kernels/random_weights.h"

// Every set gives the scalar set's bits.

namespace lethe::kernels {
namespace {

using lethe::testing::OwnedWeight;
using lethe::testing::random_values;
using lethe::testing::random_weight;
using lethe::testing::runnable_sets;
using quant::Encoding;

/// Equal bits; any NaN equals any other.
template <typename T>
::testing::AssertionResult same(const std::vector<T>& expected, const std::vector<T>& actual) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
    if (std::memcmp(&expected[i], &actual[i], sizeof(T)) == 0) continue;
    return ::testing::AssertionFailure()
           << "number " << i << ": " << expected[i] << " became " << actual[i];
  }
  return ::testing::AssertionSuccess();
}

std::vector<float> row_dots(const KernelTable& set, Encoding encoding, const WeightRow& row,
                            int64_t n, const ActivationBatch& tokens) {
  std::vector<float> out(static_cast<size_t>(tokens.size()));
  set.row_dot[static_cast<size_t>(encoding)](row, n, tokens.data(), tokens.size(), out.data());
  return out;
}

class KernelSetRowDot : public ::testing::TestWithParam<int> {
 protected:
  Encoding encoding() const { return static_cast<Encoding>(GetParam()); }
  ActivationFormat format() const { return activation_format(encoding()); }

  std::vector<int64_t> lengths() const {
    const int64_t block = quant::encoding_block(encoding());
    if (block > 1) return {block, 2 * block, 5 * block, 7 * block, 8 * block, 11 * block};
    return {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 96, 255, 256, 257, 300, 511, 1000, 2080};
  }

  /// All sets on all rows of a weight, for one token and for more than a tile of them.
  void expect_same(const quant::Weight& w, const std::vector<float>& x, int64_t tokens) {
    for (const int64_t count : {int64_t{1}, std::min<int64_t>(5, tokens), tokens}) {
      const ActivationBatch batch(format(), x.data(), count, w.cols, w.cols);
      for (int64_t r = 0; r < w.rows; ++r) {
        const WeightRow row = weight_row(w, r);
        const auto expected = row_dots(scalar_kernels(), encoding(), row, w.cols, batch);
        for (const KernelTable* set : runnable_sets()) {
          ASSERT_TRUE(same(expected, row_dots(*set, encoding(), row, w.cols, batch)))
              << set->name << ", n = " << w.cols << ", row " << r << ", tokens " << count;
        }
      }
    }
  }
};

TEST_P(KernelSetRowDot, RandomRowsOfManyLengths) {
  for (const int64_t n : lengths()) {
    const OwnedWeight w = random_weight(encoding(), 3, n, static_cast<uint32_t>(n) + 40);
    expect_same(w.weight, random_values(n * 21, 41), 21);
  }
}

// Any byte may stand anywhere in a file: scales that are NaN, infinite, zero or subnormal, every
// code. Tiles of 32, 128 and an odd width.
TEST_P(KernelSetRowDot, RowsOfAnyBytes) {
  std::mt19937 random(42);
  std::uniform_int_distribution<int> byte(0, 255);
  const int64_t n = 1024;
  OwnedWeight w = random_weight(encoding(), 12, n, 43);
  for (const int32_t block : {32, 48, 128}) {
    if (w.weight.scale_block == 0 && block != 32) break;
    if (w.weight.scale_block != 0) {
      if (encoding() == Encoding::Fp4Row && block != 32) break;
      w.scales.assign(static_cast<size_t>(12 * ((n + block - 1) / block)), std::byte{0});
      w.weight.scale_block = block;
      w.weight.scales = w.scales.data();
      w.weight.scale_row_bytes = (n + block - 1) / block;
    }
    for (std::byte& b : w.data) b = static_cast<std::byte>(byte(random));
    for (size_t i = 0; i < w.scales.size(); ++i) {
      w.scales[i] = static_cast<std::byte>(i % 40 == 0 ? byte(random) : i % 3 == 0 ? i % 9 : 127);
    }
    for (const float size : {1.0F, 1e-38F, 1e30F}) {
      std::vector<float> x = random_values(n * 9, 44);
      for (float& v : x) v *= size;
      expect_same(w.weight, x, 9);
    }
  }
}

TEST_P(KernelSetRowDot, LargestScalesAndCodes) {
  const int64_t n = 512;
  OwnedWeight w = random_weight(encoding(), 4, n, 45);
  for (const int scale : {0, 1, 118, 119, 120, 245, 246, 247, 254}) {
    for (std::byte& b : w.scales) b = static_cast<std::byte>(scale);
    for (const int code : {0x7e, 0x80, 0xfe, 0x77, 0xff, 0x00}) {
      for (std::byte& b : w.data) b = static_cast<std::byte>(code);
      const std::vector<float> ones(static_cast<size_t>(3 * n), -1.0F);
      expect_same(w.weight, ones, 3);
    }
  }
}

TEST_P(KernelSetRowDot, ActivationsThatAreNotFinite) {
  const int64_t n = 512;
  const OwnedWeight w = random_weight(encoding(), 2, n, 46);
  std::vector<float> x = random_values(n * 4, 47);
  x[3] = std::numeric_limits<float>::infinity();
  x[static_cast<size_t>(n) + 500] = std::nanf("");
  x[static_cast<size_t>(2 * n) + 40] = std::numeric_limits<float>::max();
  expect_same(w.weight, x, 4);
}

INSTANTIATE_TEST_SUITE_P(Encodings, KernelSetRowDot, ::testing::Range(0, quant::kNumEncodings),
                         lethe::testing::encoding_test_name);

TEST(KernelSetDots, GiveTheScalarBits) {
  for (const KernelTable* set : runnable_sets()) {
    for (int64_t n = 0; n < 70; ++n) {
      const std::vector<float> a = random_values(n + 1, 50);
      const std::vector<float> b = random_values(n + 1, 51);
      // Not aligned to anything but a float.
      ASSERT_EQ(set->dot_f32(a.data() + 1, b.data() + 1, n),
                scalar_kernels().dot_f32(a.data() + 1, b.data() + 1, n))
          << set->name << " " << n;
      ASSERT_EQ(set->dot_f64(a.data() + 1, b.data() + 1, n),
                scalar_kernels().dot_f64(a.data() + 1, b.data() + 1, n))
          << set->name << " " << n;
    }
  }
}

TEST(KernelSetFmaRows, GiveTheScalarBits) {
  for (const KernelTable* set : runnable_sets()) {
    for (int64_t n = 0; n < 40; ++n) {
      const std::vector<float> x = random_values(n, 52);
      std::vector<float> expected = random_values(n, 53);
      std::vector<float> acc = expected;
      std::vector<double> expected64(acc.begin(), acc.end());
      std::vector<double> acc64 = expected64;
      scalar_kernels().fma_row_f32(expected.data(), x.data(), 0.37F, n);
      scalar_kernels().fma_row_f64(expected64.data(), x.data(), 0.37, n);
      set->fma_row_f32(acc.data(), x.data(), 0.37F, n);
      set->fma_row_f64(acc64.data(), x.data(), 0.37, n);
      EXPECT_TRUE(same(expected, acc)) << set->name << " " << n;
      EXPECT_TRUE(same(expected64, acc64)) << set->name << " " << n;
    }
  }
}

TEST(KernelSetFmaRows, SeveralRowsGiveTheBitsOfOneAfterTheOther) {
  for (const KernelTable* set : runnable_sets()) {
    for (const int64_t n : {1, 7, 8, 63, 64, 65, 144, 512}) {
      for (const int64_t count : {0, 1, 5, 64}) {
        const std::vector<float> rows = random_values(n * count, 54);
        const std::vector<float> factors = random_values(count, 55);
        std::vector<float> expected = random_values(n, 56);
        std::vector<float> acc = expected;
        for (int64_t k = 0; k < count; ++k) {
          scalar_kernels().fma_row_f32(expected.data(), rows.data() + k * n,
                                       factors[static_cast<size_t>(k)], n);
        }
        set->fma_rows_f32(acc.data(), rows.data(), factors.data(), count, n);
        EXPECT_TRUE(same(expected, acc)) << set->name << " " << n << " " << count;
      }
    }
  }
}

TEST(KernelSets, AreChosenByName) {
  EXPECT_EQ(&select_kernels("auto"), &kernel_table());
  EXPECT_EQ(&select_kernels("scalar"), &scalar_kernels());
  for (const KernelSet& set : kernel_sets()) {
    if (set.table == nullptr) {
      EXPECT_FALSE(set.why_not.empty()) << set.name;
      EXPECT_THROW(select_kernels(set.name), UsageError);
    } else {
      EXPECT_EQ(select_kernels(set.name).name, set.name);
    }
  }
}

TEST(KernelSets, UnknownNamesAreRefusedWithTheList) {
  try {
    select_kernels("mmx");
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("\"mmx\""));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("auto, scalar, avx2"));
  }
}

}  // namespace
}  // namespace lethe::kernels
