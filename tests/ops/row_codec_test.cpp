#include "ops/row_codec.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "quant/activation.h"
#include "tensor/rounding.h"

namespace lethe::ops {
namespace {

using Kind = RowCodec::Kind;

std::vector<float> bf16_row(int64_t dim, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> row(static_cast<size_t>(dim));
  for (float& value : row) value = round_to_bf16(normal(random));
  return row;
}

std::vector<float> through(const RowCodec& codec, const std::vector<float>& row) {
  std::vector<std::byte> bytes(static_cast<size_t>(codec.row_bytes()));
  codec.encode(row.data(), bytes.data());
  std::vector<float> out(row.size());
  codec.decode(bytes.data(), out.data());
  return out;
}

TEST(RowCodec, RowsHaveTheSizesOfThePaper) {
  // spec V4 section 7: 583 bytes an entry unpadded, 68 an index key; V4.1 section 5: 528, 288, 68.
  EXPECT_EQ(RowCodec(Numerics::Fast, Kind::Fp8RopeBf16, 512, 64).row_bytes(), 583);
  EXPECT_EQ(RowCodec(Numerics::Fast, Kind::Fp4, 128, 64).row_bytes(), 68);
  EXPECT_EQ(RowCodec(Numerics::Official, Kind::Fp8, 512, 64).row_bytes(), 528);
  EXPECT_EQ(RowCodec(Numerics::Official, Kind::Fp4E4m3, 512, 64).row_bytes(), 288);
  EXPECT_EQ(RowCodec(Numerics::F32, Kind::Fp4E4m3, 512, 64).row_bytes(), 2048);
}

TEST(RowCodec, F32KeepsEveryBit) {
  std::vector<float> row = bf16_row(96, 1);
  row[3] = 0x1.234568p-3f;
  EXPECT_EQ(through(RowCodec(Numerics::F32, Kind::Fp8, 96, 32), row), row);
}

TEST(RowCodec, ServedRowsAreTheReferencesFakeQuantization) {
  const std::vector<float> row = bf16_row(192, 2);
  std::vector<float> expected = row;
  quant::fake_quantize_fp8(expected.data(), 192 - 64, 64);  // the rope part stays bf16
  EXPECT_EQ(through(RowCodec(Numerics::Official, Kind::Fp8RopeBf16, 192, 64), row), expected);

  expected = row;
  quant::fake_quantize_fp8(expected.data(), 192, 32);
  EXPECT_EQ(through(RowCodec(Numerics::Official, Kind::Fp8, 192, 64), row), expected);

  expected = row;
  quant::fake_quantize_fp4(expected.data(), 192);
  EXPECT_EQ(through(RowCodec(Numerics::Official, Kind::Fp4, 192, 64), row), expected);
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i] - b[i]), 2);
  return sum;
}

TEST(RowCodec, FastIndexKeysAreNeverFartherThanTheReferences) {
  const RowCodec official(Numerics::Official, Kind::Fp4, 128, 64);
  const RowCodec fast(Numerics::Fast, Kind::Fp4, 128, 64);
  int closer = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    const std::vector<float> row = bf16_row(128, seed);
    const double a = squared_error(through(official, row), row);
    const double b = squared_error(through(fast, row), row);
    EXPECT_LE(b, a);
    closer += b < a;
  }
  EXPECT_GT(closer, 10);
}

}  // namespace
}  // namespace lethe::ops
