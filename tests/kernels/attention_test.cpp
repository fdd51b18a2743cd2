// Attention to cached rows: every set against the formula on the decoded rows.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/kernel_sets.h"
#include "kernels/kernel_table.h"
#include "quant/activation.h"
#include "tensor/rounding.h"

namespace lethe::kernels {
namespace {

struct Rows {
  KeyLayout layout;
  int64_t dim;
  int64_t bytes;
  std::vector<std::byte> data;
  std::vector<float> values;  // decoded, [count][dim]

  Rows(const KeyLayout& how, int64_t dims, int64_t count, std::mt19937& random)
      : layout(how), dim(dims) {
    const int64_t plain = dim - layout.bf16_tail;
    const int64_t scales =
        layout.fp4 ? dim / 16 : (plain + layout.fp8_group - 1) / layout.fp8_group;
    bytes = (layout.fp4 ? dim / 2 : plain + 2 * layout.bf16_tail) + scales;
    data.resize(static_cast<size_t>(count * bytes));
    values.resize(static_cast<size_t>(count * dim));
    std::normal_distribution<float> normal;
    for (float& value : values) value = normal(random) * (random() % 20 == 0 ? 1e-4F : 1.0F);
    for (int64_t i = 0; i < count; ++i) encode(i, plain, scales);
  }

  void encode(int64_t i, int64_t plain, int64_t scales) {
    float* const row = values.data() + i * dim;
    auto* const out = reinterpret_cast<uint8_t*>(data.data() + i * bytes);
    if (layout.fp4) {
      quant::quantize_fp4_e4m3(row, dim, out, out + dim / 2);
      quant::dequantize_fp4_e4m3(out, out + dim / 2, dim, row);
      return;
    }
    quant::quantize_fp8(row, plain, layout.fp8_group, out, out + plain);
    quant::dequantize_fp8(out, out + plain, plain, layout.fp8_group, row);
    for (int64_t d = 0; d < layout.bf16_tail; ++d) {
      const uint16_t bits = bf16_bits(row[plain + d]);
      std::memcpy(out + plain + scales + 2 * d, &bits, sizeof(bits));
      row[plain + d] = bf16_to_f32(bits);
    }
  }
};

struct Result {
  std::vector<float> max;
  std::vector<float> denominator;
  std::vector<float> sums;
};

Result attend(const KernelTable& set, const AttentionQuery& query,
              const std::vector<AttentionKey>& keys) {
  const auto heads = static_cast<size_t>(padded_lanes(query.heads));
  const auto dim = static_cast<size_t>(padded_lanes(query.dim));
  Result out{std::vector<float>(heads), std::vector<float>(heads), std::vector<float>(heads * dim)};
  std::vector<std::byte> scratch(
      static_cast<size_t>(attention_scratch_bytes(query.heads, query.dim)) + 64);
  void* room = scratch.data();
  size_t space = scratch.size();
  set.attend(query, keys.data(), static_cast<int64_t>(keys.size()),
             {out.max.data(), out.denominator.data(), out.sums.data()},
             static_cast<std::byte*>(std::align(64, space - 64, room, space)));
  return out;
}

/// Any NaN is any other.
bool same_bits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof(a)) == 0;
}

/// Relative to the values' magnitude: weights are rounded to bf16 (2^-9 each), the rest is f32.
void expect_formula(const KernelTable& set, const AttentionQuery& query, const Rows& rows,
                    const std::vector<AttentionKey>& keys) {
  const Result found = attend(set, query, keys);
  for (int64_t h = 0; h < query.heads; ++h) {
    const auto at = static_cast<size_t>(h);
    std::vector<double> expected(static_cast<size_t>(query.dim));
    double denominator = 0;
    double magnitude = 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const float* row =
          rows.values.data() + (keys[i].data - rows.data.data()) / rows.bytes * rows.dim;
      double score = 0;
      for (int64_t d = 0; d < query.dim; ++d) {
        score += static_cast<double>(round_to_bf16(query.q[h * query.dim + d])) *
                 static_cast<double>(row[d]);
      }
      const double e =
          std::exp(score * static_cast<double>(query.scale) - static_cast<double>(found.max[at]));
      EXPECT_LT(e, 1.0001) << set.name;
      denominator += e;
      for (int64_t d = 0; d < query.dim; ++d) {
        expected[static_cast<size_t>(d)] += e * static_cast<double>(row[d]);
        magnitude = std::max(magnitude, std::abs(static_cast<double>(row[d])));
      }
    }
    EXPECT_NEAR(found.denominator[at], denominator, 2e-5 * denominator) << set.name;
    for (int64_t d = 0; d < query.dim; ++d) {
      const float sum = found.sums[static_cast<size_t>(h * padded_lanes(query.dim) + d)];
      EXPECT_NEAR(static_cast<double>(sum), expected[static_cast<size_t>(d)],
                  0.003 * magnitude * denominator)
          << set.name << ", head " << h << ", dim " << d;
    }
  }
}

struct Case {
  KeyLayout layout;
  int64_t dim, heads, keys;
};

std::vector<Case> cases() {
  const KeyLayout v4{.fp8_group = 64, .bf16_tail = 64};
  const KeyLayout small{.fp8_group = 64, .bf16_tail = 8};
  const KeyLayout window{.fp8_group = 32};
  const KeyLayout entries{.fp4 = true};
  std::vector<Case> all = {{v4, 512, 64, 130},    {v4, 512, 32, 64},       {v4, 192, 17, 1},
                           {small, 24, 5, 67},    {window, 80, 3, 66},     {entries, 512, 64, 129},
                           {entries, 48, 100, 6}, {entries, 1040, 16, 512}};
  // Blocks that no tile divides.
  for (int64_t keys = 2; keys < 16; ++keys) all.push_back({window, 96, 64, keys});
  for (int64_t keys = 55; keys < 64; ++keys) all.push_back({v4, 144, 112, keys});
  return all;
}

/// Heads of a query, and keys in no order.
struct Attended {
  Rows rows;
  std::vector<float> q;
  std::vector<AttentionKey> keys;
  AttentionQuery query;

  Attended(const Case& c, std::mt19937& random)
      : rows(c.layout, c.dim, c.keys, random), q(static_cast<size_t>(c.heads * c.dim)) {
    std::normal_distribution<float> normal(0, 2);
    for (float& value : q) value = normal(random);
    for (int64_t i = 0; i < c.keys; ++i) {
      keys.push_back({rows.data.data() + i * rows.bytes, &rows.layout});
    }
    std::shuffle(keys.begin(), keys.end(), random);
    query = {q.data(), c.heads, c.dim, 1.0F / std::sqrt(static_cast<float>(c.dim))};
  }
};

TEST(AttentionKernel, IsTheFormulaInAllSets) {
  std::mt19937 random(8);
  for (const Case& c : cases()) {
    const Attended attended(c, random);
    for (const KernelSet& set : kernel_sets()) {
      if (set.table == nullptr) continue;
      expect_formula(*set.table, attended.query, attended.rows, attended.keys);
    }
  }
}

const KernelTable* set_named(std::string_view name) {
  for (const KernelSet& set : kernel_sets()) {
    if (set.name == name) return set.table;
  }
  return nullptr;
}

TEST(AttentionKernel, Avx512HasTheBitsOfAvx2) {
  const KernelTable* const avx2 = set_named("avx2");
  const KernelTable* const avx512 = set_named("avx512");
  if (avx512 == nullptr) GTEST_SKIP() << "no avx512 here";
  std::mt19937 random(9);
  for (const Case& c : cases()) {
    Attended attended(c, random);
    // Scales far apart: weights of 0 and below f32's normal numbers, a NaN and an infinity.
    for (size_t i = 0; i < attended.q.size(); i += 3) attended.q[i] *= 40;
    if (c.keys == 7) attended.q[5] = std::numeric_limits<float>::quiet_NaN();
    if (c.keys == 8) attended.q[5] = std::numeric_limits<float>::infinity();
    const Result expected = attend(*avx2, attended.query, attended.keys);
    const Result found = attend(*avx512, attended.query, attended.keys);
    for (int64_t h = 0; h < c.heads; ++h) {
      const auto at = static_cast<size_t>(h);
      EXPECT_TRUE(same_bits(found.max[at], expected.max[at])) << c.keys << " keys, head " << h;
      EXPECT_TRUE(same_bits(found.denominator[at], expected.denominator[at]))
          << c.keys << " keys, head " << h;
      for (int64_t d = 0; d < c.dim; ++d) {
        const auto i = static_cast<size_t>(h * padded_lanes(c.dim) + d);
        ASSERT_TRUE(same_bits(found.sums[i], expected.sums[i]))
            << c.keys << " keys of " << c.dim << ", head " << h << ", dim " << d;
      }
    }
  }
}

/// One key of one dimension: e^ of the difference to a score of 0 comes out as the denominator.
TEST(AttentionKernel, ExponentialWithinTwoUnitsInTheLastPlace) {
  const KeyLayout layout{.fp8_group = 32};
  // Rows: e4m3 1.0 in dim 0, scale 2^e; the query picks the score.
  std::vector<std::byte> zero(32 + 1);
  std::vector<std::byte> one(32 + 1);
  one[0] = std::byte{0x38};
  one[32] = zero[32] = std::byte{127};
  std::vector<float> q(32);
  for (const KernelSet& set : kernel_sets()) {
    if (set.table == nullptr) continue;
    for (int step = 0; step < 20000; ++step) {
      const float x = round_to_bf16(-static_cast<float>(step) * 0.0043F);
      q[0] = x;
      // The larger score first: its e^ is 1, and the denominator 1 + e^x, unless x is alone.
      const std::vector<AttentionKey> keys = {{zero.data(), &layout}, {one.data(), &layout}};
      const Result found = attend(*set.table, {q.data(), 1, 32, 1.0F}, keys);
      const double expected = 1 + std::exp(static_cast<double>(x));
      EXPECT_NEAR(found.denominator[0], expected, 2.5e-7 * expected) << set.name << " " << x;
      // The value of dim 0 is e^x rounded to bf16.
      const double e = std::exp(static_cast<double>(x));
      EXPECT_NEAR(found.sums[0], e, e * 0x1p-8 + 1e-37) << set.name << " " << x;
    }
  }
}

TEST(AttentionKernel, NaNIsNotHidden) {
  const KeyLayout layout{.fp8_group = 32};
  std::vector<std::byte> row(33);
  row[32] = std::byte{255};
  std::vector<float> q(32, 1.0F);
  for (const KernelSet& set : kernel_sets()) {
    if (set.table == nullptr) continue;
    const Result found = attend(*set.table, {q.data(), 1, 32, 1.0F}, {{row.data(), &layout}});
    EXPECT_TRUE(std::isnan(found.sums[0] / found.denominator[0])) << set.name;
  }
}

}  // namespace
}  // namespace lethe::kernels
