#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "golden_paths.h"
#include "quant/activation.h"
#include "quant/weight.h"
#include "tensor/rounding.h"
#include "tensor/safetensors.h"

namespace lethe::quant {
namespace {

std::optional<DType> dtype_by_name(std::string_view name) {
  for (const DTypeInfo& info : all_dtypes()) {
    if (info.name == name) return info.dtype;
  }
  return std::nullopt;
}

// Number of values whose bits differ.
int64_t count_differences(const std::vector<float>& values, std::span<const std::byte> expected) {
  int64_t count = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = load_unaligned<uint32_t>(expected.data() + 4 * i);
    if (std::bit_cast<uint32_t>(values[i]) != bits) ++count;
  }
  return count;
}

// Decodes `blocks` [rows, row bytes] as dtype and compares with `expected` F32 [rows, cols].
void expect_same_bits(DType dtype, const TensorView& blocks, const TensorView& expected) {
  const DTypeInfo& info = dtype_info(dtype);
  ASSERT_EQ(blocks.shape.size(), 2U);
  ASSERT_EQ(expected.dtype, DType::F32);
  ASSERT_EQ(blocks.shape[0], expected.shape[0]);
  ASSERT_EQ(row_bytes(dtype, static_cast<uint64_t>(expected.shape[1])), blocks.shape[1]);
  std::vector<float> values(expected.data.size() / sizeof(float));
  decode_blocks(dtype, blocks.data.data(),
                static_cast<int64_t>(values.size() / info.block_elements), values.data());
  EXPECT_EQ(count_differences(values, expected.data), 0)
      << blocks.name << ", of " << values.size() << " values";

  // The same through a Weight, row by row and in two windows.
  StoredWeight stored;
  stored.tensor = blocks;
  stored.tensor.dtype = dtype;
  stored.tensor.shape = expected.shape;
  const Weight weight = make_weight(stored, 128);
  const int64_t split =
      weight.cols / 2 / encoding_block(weight.encoding) * encoding_block(weight.encoding);
  for (int64_t r = 0; r < weight.rows; ++r) {
    float* row = values.data() + r * weight.cols;
    std::fill_n(row, weight.cols, -1.0F);
    decode_row(weight, r, 0, split, row);
    decode_row(weight, r, split, weight.cols - split, row + split);
  }
  EXPECT_EQ(count_differences(values, expected.data), 0) << blocks.name << " in windows";
  EXPECT_DOUBLE_EQ(bits_per_weight(weight), 8.0 * info.block_bytes / info.block_elements);
}

TEST(QuantGolden, EveryBlockTypeDecodesBitForBit) {
  const auto path = lethe::testing::golden_dir() / "quant" / "quant_blocks.safetensors";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent";
  const SafetensorsFile file = SafetensorsFile::open(path.string());
  int sets = 0;
  for (const TensorView& tensor : file.tensors()) {
    const size_t dot = tensor.name.find('.');
    if (dot == std::string::npos) continue;
    const std::string type = tensor.name.substr(0, dot);
    const std::string field = tensor.name.substr(dot + 1);
    if (field != "blocks" && field != "q_blocks") continue;
    const auto dtype = dtype_by_name(type);
    ASSERT_TRUE(dtype.has_value()) << type;
    const TensorView* expected = file.find(type + (field == "blocks" ? ".f32" : ".q_f32"));
    ASSERT_NE(expected, nullptr) << tensor.name;
    ASSERT_NO_FATAL_FAILURE(expect_same_bits(*dtype, tensor, *expected));
    ++sets;
  }
  EXPECT_GT(sets, 0) << "no T.blocks in " << path;
}

std::vector<float> read_bf16(const TensorView& tensor) {
  std::vector<float> out(tensor.data.size() / 2);
  decode_blocks(DType::BF16, tensor.data.data(), static_cast<int64_t>(out.size()), out.data());
  return out;
}

// x [rows, cols] through `quantize(row, cols)` must give `expected` exactly.
void expect_quantizes_to(const SafetensorsFile& file, const std::string& expected_name,
                         const std::function<void(float*, int64_t)>& quantize) {
  const TensorView* x = file.find("unit.x");
  const TensorView* expected = file.find(expected_name);
  ASSERT_NE(x, nullptr);
  ASSERT_NE(expected, nullptr);
  ASSERT_EQ(x->dtype, DType::BF16);
  ASSERT_EQ(expected->dtype, DType::BF16);
  ASSERT_EQ(x->shape, expected->shape);
  std::vector<float> values = read_bf16(*x);
  const int64_t cols = x->shape.back();
  for (size_t begin = 0; begin < values.size(); begin += static_cast<size_t>(cols)) {
    quantize(values.data() + begin, cols);
  }
  EXPECT_EQ(values, read_bf16(*expected)) << expected_name;
}

void expect_official_quantizers(const SafetensorsFile& file) {
  expect_quantizes_to(file, "unit.fp8_g32",
                      [](float* x, int64_t n) { fake_quantize_fp8(x, n, 32); });
  expect_quantizes_to(file, "unit.fp4_g32_ue8m0",
                      [](float* x, int64_t n) { fake_quantize_fp4(x, n); });
  expect_quantizes_to(file, "unit.fp4_g16_e4m3", [](float* x, int64_t n) {
    std::vector<uint8_t> codes(static_cast<size_t>(n / 2));
    std::vector<uint8_t> scales(static_cast<size_t>(n / 16));
    quantize_fp4_e4m3(x, n, codes.data(), scales.data());
    dequantize_fp4_e4m3(codes.data(), scales.data(), n, x);
  });
}

// Every golden model that carries the unit tensors.
TEST(QuantGolden, ActivationQuantizersMatchTheOfficialOnes) {
  int models = 0;
  for (const auto& entry : std::filesystem::directory_iterator(lethe::testing::golden_dir())) {
    const auto path = entry.path() / "golden.safetensors";
    if (!std::filesystem::exists(path)) continue;
    const SafetensorsFile file = SafetensorsFile::open(path.string());
    if (file.find("unit.x") == nullptr) continue;
    SCOPED_TRACE(path.string());
    expect_official_quantizers(file);
    ++models;
  }
  if (models == 0) GTEST_SKIP() << "no golden model with unit tensors here";
}

}  // namespace
}  // namespace lethe::quant
