#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "golden_paths.h"
#include "kernels/activation_batch.h"
#include "kernels/kernel_table.h"
#include "kernels/row_dot_case.h"
#include "quant/weight.h"
#include "tensor/checkpoint.h"
#include "tensor/safetensors.h"

// Dots of the golden blocks with the golden x: `T.dot` is exact in x, `T.dot_actq` has x in ggml's
// activation format for T.

namespace lethe::kernels {
namespace {

using lethe::testing::kUnit;

class KernelsGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto path = lethe::testing::golden_dir() / "quant" / "quant_blocks.safetensors";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
    file = SafetensorsFile::open(path.string());
  }
  SafetensorsFile file;
};

std::vector<float> read_x(const SafetensorsFile& file) {
  const TensorView& x = *file.find("x");
  std::vector<float> out(x.data.size() / 4);
  std::memcpy(out.data(), x.data.data(), x.data.size());
  return out;
}

double f64_at(const TensorView& tensor, int64_t i) {
  return load_unaligned<double>(tensor.data.data() + 8 * i);
}

// One type of the file: its random blocks as a weight, and the two targets.
struct GoldenType {
  quant::Weight weight;
  const TensorView* dot = nullptr;
  const TensorView* dot_actq = nullptr;
};

std::vector<GoldenType> golden_types(const SafetensorsFile& file) {
  std::vector<GoldenType> out;
  for (const DTypeInfo& info : all_dtypes()) {
    const std::string type(info.name);
    const TensorView* blocks = file.find(type + ".blocks");
    if (blocks == nullptr) continue;
    StoredWeight stored;
    stored.tensor = *blocks;
    stored.tensor.dtype = info.dtype;
    stored.tensor.shape = file.find(type + ".f32")->shape;
    out.push_back(
        {quant::make_weight(stored, 128), file.find(type + ".dot"), file.find(type + ".dot_actq")});
  }
  return out;
}

double row_dot(const quant::Weight& w, int64_t r, const Activation& token) {
  float dot = 0;
  kernel_table().row_dot[static_cast<size_t>(w.encoding)](weight_row(w, r), w.cols, &token, 1,
                                                          &dot);
  return dot;
}

TEST_F(KernelsGolden, ActivationCodesAreGgmls) {
  const std::vector<float> x = read_x(file);
  const TensorView& blocks = *file.find("x.q8_0");
  const auto n = static_cast<int64_t>(x.size());
  const ActivationBatch batch(ActivationFormat::Int8, x.data(), 1, n, n);
  for (int64_t i = 0; i < n; ++i) {
    const std::byte* block = blocks.data.data() + i / 32 * 34;
    EXPECT_EQ(batch[0].codes[i], static_cast<int8_t>(block[2 + i % 32])) << i;
    EXPECT_EQ(f16_bits(batch[0].scales[i / 32]), load_unaligned<uint16_t>(block)) << i;
  }
}

TEST_F(KernelsGolden, DecodedDotsMatchTheExactOnes) {
  const std::vector<float> x = read_x(file);
  for (const GoldenType& type : golden_types(file)) {
    const int64_t n = type.weight.cols;
    std::vector<float> row(static_cast<size_t>(n));
    for (int64_t r = 0; r < type.weight.rows; ++r) {
      quant::decode_row(type.weight, r, row.data());
      double magnitude = 0;
      for (size_t i = 0; i < row.size(); ++i) {
        magnitude += std::abs(static_cast<double>(row[i]) * x[i]);
      }
      const double target = f64_at(*type.dot, r);
      const auto terms = static_cast<double>(n);
      EXPECT_NEAR(kernel_table().dot_f32(row.data(), x.data(), n), target,
                  (terms / 16 + 6) * kUnit * magnitude)
          << quant::encoding_name(type.weight.encoding) << " row " << r;
      EXPECT_NEAR(kernel_table().dot_f64(row.data(), x.data(), n), target,
                  2 * terms * 0x1p-53 * magnitude)
          << quant::encoding_name(type.weight.encoding) << " row " << r;
    }
  }
}

// |x - its prepared form| <= half a step, so the dots differ by no more than that times |w|.
TEST_F(KernelsGolden, RowDotsMatchTheExactOnesWithinTheActivationStep) {
  const std::vector<float> x = read_x(file);
  for (const GoldenType& type : golden_types(file)) {
    const quant::Weight& w = type.weight;
    const ActivationFormat format = activation_format(w.encoding);
    const ActivationBatch batch(format, x.data(), 1, w.cols, w.cols);
    const std::vector<double> seen = lethe::testing::seen_activations(batch[0], format, w.cols);
    std::vector<float> row(static_cast<size_t>(w.cols));
    for (int64_t r = 0; r < w.rows; ++r) {
      quant::decode_row(w, r, row.data());
      double step = 0;
      for (size_t i = 0; i < row.size(); ++i) {
        step += std::abs(static_cast<double>(row[i])) * std::abs(seen[i] - x[i]);
      }
      const double tolerance = lethe::testing::expected_dot(w, r, batch[0]).tolerance + step;
      EXPECT_NEAR(row_dot(w, r, batch[0]), f64_at(*type.dot, r), tolerance)
          << quant::encoding_name(w.encoding) << " row " << r;
    }
  }
}

// ggml's activation formats of groups of 32 hold the same codes, but the scale as a half: each term
// may differ by 2^-11 of itself.
TEST_F(KernelsGolden, Int8RowDotsMatchGgmlsActivationsUpToItsHalfScales) {
  const std::set<quant::Encoding> groups_of_32 = {quant::Encoding::Q8_0,  quant::Encoding::Q4_0,
                                                  quant::Encoding::Q4_1,  quant::Encoding::Q5_0,
                                                  quant::Encoding::Q5_1,  quant::Encoding::MXFP4,
                                                  quant::Encoding::NVFP4, quant::Encoding::IQ4_NL};
  const std::vector<float> x = read_x(file);
  for (const GoldenType& type : golden_types(file)) {
    const quant::Weight& w = type.weight;
    if (!groups_of_32.contains(w.encoding)) continue;
    const ActivationBatch batch(ActivationFormat::Int8, x.data(), 1, w.cols, w.cols);
    const std::vector<double> seen =
        lethe::testing::seen_activations(batch[0], ActivationFormat::Int8, w.cols);
    std::vector<float> row(static_cast<size_t>(w.cols));
    for (int64_t r = 0; r < w.rows; ++r) {
      quant::decode_row(w, r, row.data());
      double magnitude = 0;
      for (size_t i = 0; i < row.size(); ++i) magnitude += std::abs(row[i] * seen[i]);
      const double tolerance =
          lethe::testing::expected_dot(w, r, batch[0]).tolerance + 0x1p-11 * magnitude;
      EXPECT_NEAR(row_dot(w, r, batch[0]), f64_at(*type.dot_actq, r), tolerance)
          << quant::encoding_name(w.encoding) << " row " << r;
    }
  }
}

}  // namespace
}  // namespace lethe::kernels
