#include "kernels/kernel_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "kernels/activation_batch.h"
#include "kernels/dot_ways.h"
#include "kernels/emulated_amx.h"
#include "kernels/kernel_table.h"
#include "kernels/random_weights.h"

// Every set gives the scalar set's bits.

namespace lethe::kernels {
namespace {

using lethe::testing::by_row;
using lethe::testing::by_tile;
using lethe::testing::by_token;
using lethe::testing::OwnedWeight;
using lethe::testing::random_values;
using lethe::testing::random_weight;
using lethe::testing::runnable_sets;
using lethe::testing::same;
using quant::Encoding;

/// And the tiles of "amx" with emulated registers, where the rest of them can run.
std::vector<const KernelTable*> sets_with_emulated_amx() {
  std::vector<const KernelTable*> sets = runnable_sets();
#if defined(__x86_64__)
  for (const KernelSet& set : kernel_sets()) {
    if (set.name != "avx512" || set.table == nullptr) continue;
    static const KernelTable emulated = [&] {
      KernelTable table = *set.table;
      table.name = "emulated amx";
      lethe::testing::install_emulated_amx_int8_tile(table);
      return table;
    }();
    sets.push_back(&emulated);
  }
#endif
  return sets;
}

class KernelSetRowDot : public ::testing::TestWithParam<int> {
 protected:
  Encoding encoding() const { return static_cast<Encoding>(GetParam()); }
  ActivationFormat format() const { return activation_format(encoding()); }

  std::vector<int64_t> lengths() const {
    const int64_t block = quant::encoding_block(encoding());
    if (block > 1) {
      return {block,     2 * block,  3 * block,  5 * block,
              7 * block, 11 * block, 16 * block, 17 * block};
    }
    return {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 96, 255, 256, 257, 300, 511, 1000, 2080};
  }

  /// Dots that are f32 sums in an order of the set's own: within the roundings that any order can
  /// take. What a set takes for zero (subnormal products of bf16) is below the smallest normal.
  void expect_near(const std::vector<float>& actual, const std::vector<WeightRow>& rows,
                   const quant::Weight& w, const ActivationBatch& batch) {
    for (size_t r = 0; r < rows.size(); ++r) {
      std::vector<float> decoded(static_cast<size_t>(w.cols));
      quant::decode_row(w, static_cast<int64_t>(r), decoded.data());
      for (int64_t t = 0; t < batch.size(); ++t) {
        double dot = 0;
        double magnitude = 0;
        for (size_t i = 0; i < decoded.size(); ++i) {
          const double product =
              static_cast<double>(decoded[i]) * static_cast<double>(bf16_to_f32(batch[t].bf16[i]));
          dot += product;
          magnitude += std::abs(product);
        }
        const float value = actual[static_cast<size_t>(t) * rows.size() + r];
        if (!std::isfinite(magnitude) || magnitude > 1e38) continue;  // NaN, infinity, or near it
        const auto terms = static_cast<double>(w.cols);
        EXPECT_NEAR(value, dot, (terms / 16 + 8) * 0x1p-24 * magnitude + terms * 0x1p-100)
            << "row " << r << ", token " << t;
      }
    }
  }

  /// All sets on all rows of a weight, for one token and for more than a tile of them.
  void expect_same(const quant::Weight& w, const std::vector<float>& x, int64_t tokens) {
    for (const int64_t count : {int64_t{1}, std::min<int64_t>(5, tokens), tokens}) {
      const ActivationBatch batch(format(), x.data(), count, w.cols, w.cols);
      std::vector<WeightRow> rows;
      for (int64_t r = 0; r < w.rows; ++r) rows.push_back(weight_row(w, r));
      const auto expected = by_row(scalar_kernels(), encoding(), rows, w.cols, batch);
      for (const KernelTable* set : sets_with_emulated_amx()) {
        SCOPED_TRACE(std::string(set->name) + ", n = " + std::to_string(w.cols) + ", tokens " +
                     std::to_string(count));
        const auto of_set = by_row(*set, encoding(), rows, w.cols, batch);
        if (set->own_bits[static_cast<size_t>(encoding())]) {
          expect_near(of_set, rows, w, batch);
        } else {
          ASSERT_TRUE(same(expected, of_set)) << "by row";
        }
        if (set->rows_dot[static_cast<size_t>(encoding())] != nullptr) {
          ASSERT_TRUE(same(of_set, by_token(*set, encoding(), rows, w.cols, batch))) << "by token";
        }
        if (set->tile_of(encoding(), w.scales_f32).takes(w.scale_block)) {
          ASSERT_TRUE(same(of_set, by_tile(*set, encoding(), rows, w.cols, batch))) << "by tile";
        }
      }
    }
  }
};

TEST_P(KernelSetRowDot, RandomRowsOfManyLengths) {
  for (const int64_t n : lengths()) {
    const int64_t rows = n % 256 == 0 ? 35 : 19;  // whole panels with whole steps, and parts
    const OwnedWeight w = random_weight(encoding(), rows, n, static_cast<uint32_t>(n) + 40);
    expect_same(w.weight, random_values(n * 31, 41), 31);
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
    for (const float size : {1.0F, 1e-38F, 1e-10F, 1e14F, 1e30F}) {
      std::vector<float> x = random_values(n * 9, 44);
      for (float& v : x) v *= size;
      expect_same(w.weight, x, 9);
    }
  }
}

// Powers of two as scales, from one end of e8m0 to the other: what a tile makes of them depends on
// the largest of 16 rows.
TEST_P(KernelSetRowDot, ScalesThatArePowersOfTwo) {
  if (encoding() != Encoding::MXFP4 && encoding() != Encoding::Fp4Row) return;
  const int64_t n = 512;
  const int64_t panels = 5;
  const int64_t groups = n / 32;
  std::mt19937 random(48);
  OwnedWeight w = random_weight(encoding(), panels * kPanelRows, n, 49);
  const auto scale = [&](int64_t row, int64_t group) -> std::byte& {
    const auto at = static_cast<size_t>(row * groups + group);
    return encoding() == Encoding::MXFP4 ? w.data[17 * at] : w.scales[at];
  };
  for (const int most : {3, 82, 83, 140, 143, 144, 231, 232, 254, 255}) {  // limits of the sets
    for (int64_t r = 0; r < panels * kPanelRows; ++r) {
      for (int64_t g = 0; g < groups; ++g) scale(r, g) = static_cast<std::byte>(random() % 4);
    }
    for (int64_t r = 2 * kPanelRows; r < 3 * kPanelRows; ++r) {  // one panel of a pair
      for (int64_t g = 0; g < groups; ++g) {
        scale(r, g) = static_cast<std::byte>(most - static_cast<int>(random() % 4));
      }
    }
    scale(kPanelRows + 3, 5) = static_cast<std::byte>(std::min(most, 231));
    for (const float size : {1.0F, 1e-38F, 1e-10F, 1e14F, 1e30F}) {
      std::vector<float> x = random_values(n * 18, 52);
      for (float& v : x) v *= size;
      expect_same(w.weight, x, 18);
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

TEST(KernelSetDots, Bf16RowsWithF32GiveTheBitsOfDecodedOnes) {
  const auto sets = sets_with_emulated_amx();
  const auto has_it = [](const KernelTable* set) { return set->bf16_rows_with_f32 != nullptr; };
  if (std::ranges::none_of(sets, has_it)) GTEST_SKIP() << "no set here has such a kernel";
  for (const int64_t n : {1, 7, 15, 16, 17, 31, 32, 33, 64, 257, 1000, 4096}) {
    const OwnedWeight w = random_weight(Encoding::BF16, 19, n, static_cast<uint32_t>(n) + 70);
    const std::vector<float> x = random_values(n, 71);
    const Activation token{.f32 = x.data()};
    std::vector<WeightRow> rows;
    std::vector<float> expected;
    for (int64_t r = 0; r < w.weight.rows; ++r) {
      std::vector<float> decoded(static_cast<size_t>(n));
      quant::decode_row(w.weight, r, decoded.data());
      rows.push_back(weight_row(w.weight, r));
      expected.push_back(scalar_kernels().dot_f32(decoded.data(), x.data(), n));
    }
    for (const KernelTable* set : sets) {
      if (!has_it(set)) continue;
      SCOPED_TRACE(std::string(set->name) + ", n = " + std::to_string(n));
      std::vector<float> out(rows.size());
      set->bf16_rows_with_f32(rows.data(), static_cast<int64_t>(rows.size()), n, token, out.data());
      EXPECT_TRUE(same(expected, out));
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

// Lengths that end within a group of 32, and numbers that the format has no room for.
TEST(KernelSetActivations, GiveTheScalarBits) {
  for (const KernelTable* set : runnable_sets()) {
    for (const int64_t n : {1, 7, 15, 16, 17, 31, 32, 33, 48, 64, 65, 256, 300}) {
      for (const float size : {1.0F, 1e-38F, 1e-44F, 1e30F, 0.0F}) {
        std::vector<float> x = random_values(n, static_cast<uint32_t>(n) + 60);
        for (float& v : x) v *= size;
        if (n == 65) x[40] = std::numeric_limits<float>::infinity();
        if (n == 256) x[100] = std::nanf("");
        if (n == 300) x[10] = -std::numeric_limits<float>::quiet_NaN();
        struct Results {
          std::vector<uint16_t> bf16;
          std::vector<int8_t> codes;
          std::vector<float> scales;
          std::vector<int32_t> sums;
        };
        const auto results = [&](const KernelTable& kernels) {
          const auto groups = static_cast<size_t>((n + 31) / 32);
          Results r{std::vector<uint16_t>(x.size()), std::vector<int8_t>(x.size()),
                    std::vector<float>(groups), std::vector<int32_t>(2 * groups)};
          kernels.to_bf16(x.data(), n, r.bf16.data());
          kernels.quantize_int8(x.data(), n, r.codes.data(), r.scales.data(), r.sums.data());
          return r;
        };
        const Results expected = results(scalar_kernels());
        const Results actual = results(*set);
        EXPECT_EQ(expected.bf16, actual.bf16) << set->name << " " << n << " " << size;
        EXPECT_EQ(expected.codes, actual.codes) << set->name << " " << n << " " << size;
        EXPECT_TRUE(same(expected.scales, actual.scales)) << set->name << " " << n << " " << size;
        EXPECT_EQ(expected.sums, actual.sums) << set->name << " " << n << " " << size;
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

// The build knows which processors it emulates.
TEST(KernelSets, BestIsTheOneOfTheProcessor) {
  const char* const best = std::getenv("LETHE_TEST_BEST_KERNELS");
  if (best == nullptr) GTEST_SKIP() << "no processor was chosen";
  EXPECT_EQ(kernel_table().name, best);
}

TEST(KernelSets, UnknownNamesAreRefusedWithTheList) {
  try {
    select_kernels("mmx");
    FAIL() << "no error";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("\"mmx\""));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("there are auto, scalar, avx2"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr(", avxvnni"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr(", avx512bf16"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr(", amx"));
  }
}

TEST(KernelSets, AmxIsNotChosenByItself) {
  EXPECT_NE(kernel_table().name, "amx");
}

}  // namespace
}  // namespace lethe::kernels
