#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/activation_batch.h"
#include "kernels/dot_ways.h"
#include "kernels/kernel_table.h"
#include "kernels/random_weights.h"
#include "kernels/row_dot_case.h"

namespace lethe::kernels {
namespace {

using lethe::testing::kUnit;
using lethe::testing::lengths_of;
using lethe::testing::OwnedWeight;
using lethe::testing::random_values;
using lethe::testing::random_weight;
using lethe::testing::runnable_sets;
using quant::Encoding;

class RowDotTest : public ::testing::TestWithParam<int> {
 protected:
  Encoding encoding() const { return static_cast<Encoding>(GetParam()); }
};

TEST_P(RowDotTest, MatchesTheDecodedRowInF64) {
  for (const KernelTable* set : runnable_sets()) {
    for (int64_t n : lengths_of(encoding())) {
      const OwnedWeight w = random_weight(encoding(), 5, n, static_cast<uint32_t>(n));
      const std::vector<float> x = random_values(n, 99);
      const ActivationBatch batch(activation_format(encoding()), x.data(), 1, n, n);
      for (int64_t r = 0; r < 5; ++r) {
        float dot = 0;
        set->row_dot[static_cast<size_t>(GetParam())](weight_row(w.weight, r), n, batch.data(), 1,
                                                      &dot);
        const auto expected = lethe::testing::expected_dot(w.weight, r, batch[0]);
        ASSERT_NEAR(dot, expected.dot, expected.tolerance)
            << set->name << ", n = " << n << ", row " << r;
      }
    }
  }
}

TEST_P(RowDotTest, GivesTheSameBitsAloneAndInABatch) {
  const int64_t n = lengths_of(encoding()).back();
  const int64_t tokens = 19;
  const OwnedWeight w = random_weight(encoding(), 2, n, 5);
  const std::vector<float> x = random_values(tokens * n, 6);
  const ActivationBatch batch(activation_format(encoding()), x.data(), tokens, n, n);
  for (const KernelTable* set : runnable_sets()) {
    const RowDot dot = set->row_dot[static_cast<size_t>(GetParam())];
    std::vector<float> together(tokens);
    dot(weight_row(w.weight, 1), n, batch.data(), tokens, together.data());
    for (int64_t t = 0; t < tokens; ++t) {
      float alone = 0;
      dot(weight_row(w.weight, 1), n, &batch[t], 1, &alone);
      ASSERT_EQ(alone, together[static_cast<size_t>(t)]) << set->name << ", token " << t;
    }
  }
}

TEST_P(RowDotTest, ReadsUnalignedRows) {
  const int64_t n = lengths_of(encoding()).back();
  OwnedWeight w = random_weight(encoding(), 1, n, 8);
  const std::vector<float> x = random_values(n, 9);
  const ActivationBatch batch(activation_format(encoding()), x.data(), 1, n, n);
  std::vector<std::byte> shifted(w.data.size() + 1);
  std::copy(w.data.begin(), w.data.end(), shifted.begin() + 1);
  for (const KernelTable* set : runnable_sets()) {
    WeightRow row = weight_row(w.weight, 0);
    float aligned = 0;
    float unaligned = 1;
    set->row_dot[static_cast<size_t>(GetParam())](row, n, batch.data(), 1, &aligned);
    row.data = shifted.data() + 1;
    set->row_dot[static_cast<size_t>(GetParam())](row, n, batch.data(), 1, &unaligned);
    ASSERT_EQ(aligned, unaligned) << set->name;
  }
}

TEST_P(RowDotTest, PropagatesNan) {
  const int64_t n = lengths_of(encoding()).back();
  const OwnedWeight w = random_weight(encoding(), 1, n, 10);
  std::vector<float> x = random_values(n, 11);
  x[static_cast<size_t>(n) / 2] = std::nanf("");
  const ActivationBatch batch(activation_format(encoding()), x.data(), 1, n, n);
  for (const KernelTable* set : runnable_sets()) {
    float dot = 0;
    set->row_dot[static_cast<size_t>(GetParam())](weight_row(w.weight, 0), n, batch.data(), 1,
                                                  &dot);
    EXPECT_TRUE(std::isnan(dot)) << set->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Encodings, RowDotTest, ::testing::Range(0, quant::kNumEncodings),
                         lethe::testing::encoding_test_name);

// Rows under one row of scales are where a set may scale the activations in place of the weights.
// That must not show, wherever numbers are so large or small that it could.
class Fp8RowsTest : public ::testing::TestWithParam<int64_t> {
 protected:
  static constexpr int64_t kRows = 131;  // of two rows of scales, odd

  void SetUp() override {
    const auto has_it = [](const KernelTable* set) {
      return set->rows_dot[static_cast<size_t>(Encoding::Fp8Block)] != nullptr;
    };
    if (std::ranges::none_of(runnable_sets(), has_it)) GTEST_SKIP() << "no set here has FP8 rows";
  }

  int64_t columns() const { return GetParam(); }
  OwnedWeight weight(int64_t block = 128) const {
    return testing::random_scaled(Encoding::Fp8Block, kRows, columns(), 21, block);
  }
  std::vector<float> activations() const { return random_values(columns(), 22); }

  /// The rows one by one, as a set has it.
  std::vector<float> one_by_one(const KernelTable& set, const std::vector<WeightRow>& rows,
                                const ActivationBatch& batch) const {
    std::vector<float> out(rows.size());
    for (size_t r = 0; r < rows.size(); ++r) {
      set.row_dot[static_cast<size_t>(Encoding::Fp8Block)](rows[r], columns(), batch.data(), 1,
                                                           &out[r]);
    }
    return out;
  }

  /// In every set the rows together give the bits of the rows one by one, and those are the scalar
  /// set's but where the set has its own.
  void expect_same_bits(const OwnedWeight& w, const std::vector<float>& x) const {
    const ActivationBatch batch(ActivationFormat::Bf16, x.data(), 1, columns(), columns());
    std::vector<WeightRow> rows;
    for (int64_t r = 0; r < kRows; ++r) rows.push_back(weight_row(w.weight, r));
    const std::vector<float> scalar = one_by_one(scalar_kernels(), rows, batch);
    for (const KernelTable* set : runnable_sets()) {
      const RowsDot rows_dot = set->rows_dot[static_cast<size_t>(Encoding::Fp8Block)];
      if (rows_dot == nullptr) continue;
      const bool own = set->own_bits[static_cast<size_t>(Encoding::Fp8Block)];
      const std::vector<float> wanted = own ? one_by_one(*set, rows, batch) : scalar;
      std::vector<float> got(kRows);
      rows_dot(rows.data(), kRows, columns(), batch[0], got.data());
      for (size_t r = 0; r < got.size(); ++r) {
        EXPECT_EQ(std::isnan(got[r]), std::isnan(scalar[r])) << set->name << ", row " << r;
        if (std::isnan(wanted[r]) && std::isnan(got[r])) continue;
        EXPECT_EQ(std::bit_cast<uint32_t>(got[r]), std::bit_cast<uint32_t>(wanted[r]))
            << set->name << ", row " << r;
      }
    }
  }
};

TEST_P(Fp8RowsTest, OrdinaryNumbers) {
  for (const int64_t block : {128, 64, 32}) expect_same_bits(weight(block), activations());
}

TEST_P(Fp8RowsTest, LargeAndSmallActivations) {
  for (const float factor : {1e-44F, 1e-37F, 1e-25F, 1e-12F, 1e12F, 1e25F, 1e37F}) {
    std::vector<float> x = activations();
    x[static_cast<size_t>(columns()) / 3] *= factor;
    expect_same_bits(weight(), x);
  }
}

TEST_P(Fp8RowsTest, LargeAndSmallScales) {
  for (const int exponent : {0, 1, 30, 80, 170, 220, 254}) {
    OwnedWeight w = weight();
    w.scales[0] = static_cast<std::byte>(exponent);
    expect_same_bits(w, activations());
    std::vector<float> x = activations();
    for (float& value : x) value *= exponent < 127 ? 1e-18F : 1e18F;
    expect_same_bits(w, x);
  }
}

TEST_P(Fp8RowsTest, NotANumber) {
  OwnedWeight w = weight();
  w.data[static_cast<size_t>(7 * columns() + columns() / 2)] = std::byte{0x7f};
  expect_same_bits(w, activations());
  std::vector<float> x = activations();
  x[5] = std::nanf("");
  expect_same_bits(weight(), x);
  x[5] = std::numeric_limits<float>::infinity();
  expect_same_bits(weight(), x);
  w = weight();
  w.scales[0] = std::byte{255};
  expect_same_bits(w, activations());
}

INSTANTIATE_TEST_SUITE_P(Columns, Fp8RowsTest, ::testing::Values(64, 192, 200, 1024, 4224, 8192));

// Some re-packs of the release store f32 scales. A set with bits of its own for e8m0 scales takes
// these as the scalar set does, in tiles too.
TEST(RowDot, F32ScalesGiveTheSameBitsButWhereASetHasItsOwn) {
  constexpr int64_t kColumns = 4096;
  constexpr int64_t kTokens = 5;
  for (Encoding encoding : {Encoding::Fp8Block, Encoding::Fp8Row, Encoding::Fp4Row}) {
    const OwnedWeight w = testing::random_scaled(encoding, 19, kColumns, 12, 128);
    std::vector<float> scales(w.scales.size());
    for (size_t i = 0; i < scales.size(); ++i) {
      scales[i] = e8m0_to_f32(static_cast<uint8_t>(w.scales[i]));
    }
    quant::Weight with_f32 = w.weight;
    with_f32.scales = reinterpret_cast<const std::byte*>(scales.data());
    with_f32.scale_row_bytes *= 4;
    with_f32.scales_f32 = true;
    std::vector<WeightRow> rows;
    std::vector<WeightRow> f32_rows;
    for (int64_t r = 0; r < w.weight.rows; ++r) {
      rows.push_back(weight_row(w.weight, r));
      f32_rows.push_back(weight_row(with_f32, r));
    }
    const std::vector<float> x = random_values(kColumns * kTokens, 13);
    const ActivationBatch batch(activation_format(encoding), x.data(), kTokens, kColumns, kColumns);
    const auto scalar = testing::by_row(scalar_kernels(), encoding, rows, kColumns, batch);
    for (const KernelTable* set : runnable_sets()) {
      SCOPED_TRACE(std::string(set->name) + ", " + std::string(quant::encoding_name(encoding)));
      if (!set->own_bits[static_cast<size_t>(encoding)]) {
        EXPECT_EQ(testing::by_row(*set, encoding, rows, kColumns, batch), scalar);
      }
      EXPECT_EQ(testing::by_row(*set, encoding, f32_rows, kColumns, batch), scalar);
      if (set->rows_dot[static_cast<size_t>(encoding)] != nullptr) {
        EXPECT_EQ(testing::by_token(*set, encoding, f32_rows, kColumns, batch), scalar);
      }
      if (set->tile_of(encoding, true).takes(with_f32.scale_block)) {
        EXPECT_EQ(testing::by_tile(*set, encoding, f32_rows, kColumns, batch), scalar);
      }
    }
  }
}

TEST(Dots, MatchF64WithinTheirLanesRoundings) {
  for (const KernelTable* set : runnable_sets()) {
    for (int64_t n : {0, 1, 3, 8, 15, 16, 17, 31, 33, 100, 4096, 7168}) {
      const std::vector<float> a = random_values(n, 1);
      const std::vector<float> b = random_values(n, 2);
      long double exact = 0;
      long double magnitude = 0;
      for (size_t i = 0; i < a.size(); ++i) {
        exact += static_cast<long double>(a[i]) * b[i];
        magnitude += std::abs(static_cast<long double>(a[i]) * b[i]);
      }
      const auto scale = static_cast<double>(magnitude);
      const auto terms = static_cast<double>(n);
      EXPECT_NEAR(set->dot_f32(a.data(), b.data(), n), static_cast<double>(exact),
                  (terms / 16 + 6) * kUnit * scale)
          << set->name << " " << n;
      EXPECT_NEAR(set->dot_f64(a.data(), b.data(), n), static_cast<double>(exact),
                  (terms / 8 + 5) * 0x1p-53 * scale)
          << set->name << " " << n;
    }
  }
}

// The order of the sum is part of the contract of the scalar set.
TEST(Dots, ScalarSetAddsInSixteenLanes) {
  for (int64_t n : {5, 16, 61, 1000}) {
    const std::vector<float> a = random_values(n, 3);
    const std::vector<float> b = random_values(n, 4);
    float lanes[16] = {};
    for (size_t i = 0; i < a.size(); ++i) {
      const volatile float product = a[i] * b[i];
      lanes[i % 16] += product;
    }
    for (int half = 8; half > 0; half /= 2) {
      for (int l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    }
    EXPECT_EQ(scalar_kernels().dot_f32(a.data(), b.data(), n), lanes[0]) << n;
  }
}

TEST(FmaRow, AddsScaledRow) {
  for (const KernelTable* set : runnable_sets()) {
    const std::vector<float> x = random_values(77, 5);
    std::vector<float> acc = random_values(77, 6);
    std::vector<double> acc64(acc.begin(), acc.end());
    const std::vector<float> before = acc;
    set->fma_row_f32(acc.data(), x.data(), 0.37F, 77);
    set->fma_row_f64(acc64.data(), x.data(), 0.37, 77);
    for (size_t i = 0; i < acc.size(); ++i) {
      const double exact = before[i] + static_cast<double>(0.37F) * x[i];
      const double magnitude = std::abs(before[i]) + std::abs(0.37 * x[i]);
      EXPECT_NEAR(acc[i], exact, 2 * kUnit * magnitude);
      EXPECT_NEAR(acc64[i], before[i] + 0.37 * x[i], 0x1p-52 * magnitude);
    }
  }
}

TEST(ActivationBatch, PreparesEveryTokenOfAStridedMatrix) {
  const int64_t n = 80;
  const int64_t stride = 100;
  const std::vector<float> x = random_values(3 * stride, 12);
  const ActivationBatch f32(ActivationFormat::F32, x.data(), 3, n, stride);
  const ActivationBatch bf16(ActivationFormat::Bf16, x.data(), 3, n, stride);
  const ActivationBatch int8(ActivationFormat::Int8, x.data(), 3, n, stride);
  ASSERT_EQ(int8.size(), 3);
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t i = 0; i < n; ++i) {
      const float value = x[static_cast<size_t>(t * stride + i)];
      EXPECT_EQ(f32[t].f32[i], value);
      EXPECT_EQ(bf16_to_f32(bf16[t].bf16[i]), round_to_bf16(value));
      EXPECT_NEAR(int8[t].codes[i] * int8[t].scales[i / 32], value,
                  int8[t].scales[i / 32] * 0.5001);
    }
    for (int64_t g = 0; g < n / 16; ++g) {
      int32_t sum = 0;
      for (int64_t i = 16 * g; i < 16 * g + 16; ++i) sum += int8[t].codes[i];
      EXPECT_EQ(int8[t].sums[g], sum);
    }
  }
}

}  // namespace
}  // namespace lethe::kernels
