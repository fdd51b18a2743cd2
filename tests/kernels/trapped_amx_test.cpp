#include "kernels/trapped_amx.h"

#include <gtest/gtest.h>

#include "kernels/cpu_features.h"
#include "kernels/dot_ways.h"
#include "kernels/kernel_sets.h"
#include "kernels/random_weights.h"

#if defined(__x86_64__) && defined(__linux__)

#include "kernels/amx.h"
#include "kernels/peak_probe.h"

// The compiled kernels of "amx", not their source over something else: the very instructions, on a
// processor that traps them. Machines with AMX run them in kernel_sets_test.cpp.

namespace lethe::kernels {
namespace {

using lethe::testing::by_row;
using lethe::testing::by_tile;
using lethe::testing::random_values;
using lethe::testing::random_weight;
using lethe::testing::same;
using lethe::testing::TrappedAmx;
using quant::Encoding;

class TrappedAmxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const CpuFeatures cpu = cpu_features();
    if (cpu.amx_tile) GTEST_SKIP() << "this processor has AMX";
    for (const KernelSet& set : kernel_sets()) {
      if (set.name == "avx512bf16" && set.table != nullptr) table_ = *set.table;
    }
    if (table_.name.empty()) GTEST_SKIP() << "this processor has no AVX-512 BF16";
    table_.name = "amx";
    install_amx_int8_tile(table_);
  }

  /// 37 rows are a pair of panels and a part of one, 21 tokens a tile and a part of one.
  void expect_same(Encoding encoding, int64_t n) {
    const auto w = random_weight(encoding, 37, n, 70);
    const std::vector<float> x = random_values(n * 21, 71);
    const ActivationBatch tokens(ActivationFormat::Int8, x.data(), 21, n, n);
    std::vector<WeightRow> rows;
    for (int64_t r = 0; r < w.weight.rows; ++r) rows.push_back(weight_row(w.weight, r));
    EXPECT_TRUE(same(by_row(scalar_kernels(), encoding, rows, n, tokens),
                     by_tile(table_, encoding, rows, n, tokens)))
        << quant::encoding_name(encoding) << ", n = " << n;
  }

  KernelTable table_{};
};

TEST_F(TrappedAmxTest, GivesTheScalarBits) {
  const TrappedAmx trapped;
  const auto before = TrappedAmx::counts();
  for (int e = 0; e < quant::kNumEncodings; ++e) {
    const auto encoding = static_cast<Encoding>(e);
    if (activation_format(encoding) != ActivationFormat::Int8) continue;
    expect_same(encoding, 512);
    expect_same(encoding, 3 * quant::encoding_block(encoding));
  }
  const auto counts = TrappedAmx::counts();
  EXPECT_GT(counts.at("tdpbssd"), before.at("tdpbssd"));
  EXPECT_EQ(counts.at("tdpbssd") - before.at("tdpbssd"),
            counts.at("tilestored") - before.at("tilestored"));
  EXPECT_LE(counts.at("ldtilecfg") - before.at("ldtilecfg"), 1) << "once for a thread";
}

TEST_F(TrappedAmxTest, ThePeakProbeLeavesTilesAsTheyWere) {
  const TrappedAmx trapped;
  expect_same(Encoding::Q8_0, 64);
  const auto before = TrappedAmx::counts();
  EXPECT_EQ(peak_probe(table_).int8_ops(3), 2.0 * 3 * 4 * 16 * 16 * 64);
  EXPECT_EQ(TrappedAmx::counts().at("tdpbssd") - before.at("tdpbssd"), 3 * 4);
  expect_same(Encoding::Q8_0, 64);
  expect_same(Encoding::Q6_K, 256);
}

}  // namespace
}  // namespace lethe::kernels

#endif
