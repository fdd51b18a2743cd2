#include "quant/weight.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/rounding.h"

namespace lethe::quant {
namespace {

using Bytes = std::vector<std::byte>;

Bytes random_bytes(size_t count, uint32_t seed, int lowest = 0, int highest = 255) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> byte(lowest, highest);
  Bytes out(count);
  for (std::byte& b : out) b = static_cast<std::byte>(byte(random));
  return out;
}

// Codes of e4m3 without the NaNs.
Bytes random_e4m3(size_t count, uint32_t seed) {
  Bytes out = random_bytes(count, seed);
  for (std::byte& b : out) {
    if ((b & std::byte{0x7f}) == std::byte{0x7f}) b = std::byte{0x10};
  }
  return out;
}

TensorView view(std::string name, DType dtype, Shape shape, const Bytes& data) {
  TensorView tensor;
  tensor.name = std::move(name);
  tensor.dtype = dtype;
  tensor.shape = std::move(shape);
  tensor.data = data;
  tensor.file = "weights.safetensors";
  return tensor;
}

StoredWeight stored(StorageKind kind, TensorView tensor, std::optional<TensorView> scale = {}) {
  StoredWeight s;
  s.kind = kind;
  s.tensor = std::move(tensor);
  s.scale = std::move(scale);
  return s;
}

uint8_t byte_at(const Bytes& data, int64_t i) {
  return static_cast<uint8_t>(data[static_cast<size_t>(i)]);
}

std::string load_error(const StoredWeight& weight, int64_t fp8_block) {
  try {
    make_weight(weight, fp8_block);
  } catch (const LoadError& e) {
    return e.what();
  }
  return "";
}

TEST(Fp8Block, DecodesWithPartialTilesOnBothAxes) {
  for (int64_t block : {32, 128}) {
    const int64_t rows = block + 3;
    const int64_t cols = 2 * block + 5;
    const Bytes codes = random_e4m3(static_cast<size_t>(rows * cols), 1);
    const Bytes scales = random_bytes(6, 2, 100, 140);
    const Weight w =
        make_weight(stored(StorageKind::Fp8Block, view("w", DType::F8_E4M3, {rows, cols}, codes),
                           view("w.scale", DType::F8_E8M0, {2, 3}, scales)),
                    block);
    EXPECT_EQ(w.encoding, Encoding::Fp8Block);
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t r = 0; r < rows; ++r) {
      decode_row(w, r, row.data());
      for (int64_t c = 0; c < cols; ++c) {
        const float scale = e8m0_to_f32(byte_at(scales, r / block * 3 + c / block));
        ASSERT_EQ(row[static_cast<size_t>(c)], e4m3_to_f32(byte_at(codes, r * cols + c)) * scale);
      }
    }
    // Any window gives the same values as the whole row.
    std::vector<float> window(40);
    decode_row(w, rows - 1, block - 7, 40, window.data());
    EXPECT_TRUE(std::equal(window.begin(), window.end(), row.begin() + block - 7));
    EXPECT_FALSE(row_has_nan(w, 0));
  }
}

TEST(Fp8Block, ReadsScalesAsU8OrUnalignedF32) {
  const Bytes codes = random_e4m3(40 * 40, 3);
  const Bytes e8m0 = random_bytes(4, 4, 120, 130);
  Bytes f32(4 * 4 + 1);
  for (size_t i = 0; i < 4; ++i) {
    const float value = e8m0_to_f32(byte_at(e8m0, static_cast<int64_t>(i)));
    std::memcpy(f32.data() + 1 + 4 * i, &value, 4);
  }
  TensorView f32_view = view("w.scale", DType::F32, {2, 2}, f32);
  f32_view.data = f32_view.data.subspan(1);
  const TensorView tensor = view("w", DType::F8_E4M3, {40, 40}, codes);
  const Weight a = make_weight(
      stored(StorageKind::Fp8Block, tensor, view("w.scale", DType::U8, {2, 2}, e8m0)), 32);
  const Weight b = make_weight(stored(StorageKind::Fp8Block, tensor, f32_view), 32);
  std::vector<float> from_e8m0(40);
  std::vector<float> from_f32(40);
  for (int64_t r = 0; r < 40; ++r) {
    decode_row(a, r, from_e8m0.data());
    decode_row(b, r, from_f32.data());
    EXPECT_EQ(from_e8m0, from_f32);
  }
  EXPECT_DOUBLE_EQ(bits_per_weight(a), 8.0 * (1600 + 4) / 1600);
  EXPECT_DOUBLE_EQ(bits_per_weight(b), 8.0 * (1600 + 16) / 1600);
}

TEST(Fp8Block, RefusesScalesThatContradictTheWeight) {
  const Bytes codes = random_e4m3(64 * 64, 5);
  const Bytes scales = random_bytes(64, 6, 120, 130);
  const TensorView tensor = view("layers.0.w", DType::F8_E4M3, {64, 64}, codes);
  const auto with_scale = [&](DType dtype, Shape shape, size_t bytes) {
    TensorView scale = view("layers.0.s", dtype, std::move(shape), scales);
    scale.data = scale.data.first(bytes);
    return stored(StorageKind::Fp8Block, tensor, scale);
  };
  EXPECT_EQ(load_error(with_scale(DType::F8_E8M0, {2, 2}, 4), 32), "");
  // The same file read with the other family's tile edge.
  const std::string contradiction = load_error(with_scale(DType::F8_E8M0, {2, 2}, 4), 128);
  EXPECT_NE(contradiction.find("[1, 1]"), std::string::npos) << contradiction;
  EXPECT_NE(contradiction.find("layers.0.s"), std::string::npos) << contradiction;
  EXPECT_NE(load_error(with_scale(DType::F8_E8M0, {4}, 4), 32), "");
  EXPECT_NE(load_error(with_scale(DType::BF16, {2, 2}, 8), 32), "");
  EXPECT_NE(load_error(with_scale(DType::F8_E8M0, {2, 2}, 3), 32), "");
  EXPECT_NE(load_error(stored(StorageKind::Fp8Block, tensor), 32), "");
}

TEST(Fp4Row, LowNibbleIsTheEvenElement) {
  const int64_t rows = 3;
  const int64_t cols = 96;
  const Bytes codes = random_bytes(static_cast<size_t>(rows * cols / 2), 7);
  const Bytes scales = random_bytes(static_cast<size_t>(rows * cols / 32), 8, 100, 140);
  const Weight w =
      make_weight(stored(StorageKind::Fp4Row, view("w", DType::I8, {rows, cols}, codes),
                         view("s", DType::F8_E8M0, {rows, cols / 32}, scales)),
                  128);
  std::vector<float> row(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    decode_row(w, r, row.data());
    for (int64_t c = 0; c < cols; ++c) {
      const unsigned pair = byte_at(codes, (r * cols + c) / 2);
      const auto code = static_cast<uint8_t>(c % 2 == 0 ? pair & 15u : pair >> 4);
      const float scale = e8m0_to_f32(byte_at(scales, r * (cols / 32) + c / 32));
      ASSERT_EQ(row[static_cast<size_t>(c)], e2m1_to_f32(code) * scale);
    }
  }
  EXPECT_DOUBLE_EQ(bits_per_weight(w), 4.25);
  std::vector<float> window(32);
  decode_row(w, 2, 64, 32, window.data());
  EXPECT_TRUE(std::equal(window.begin(), window.end(), row.begin() + 64));
}

TEST(Fp4Row, RefusesRowsThatAreNoWholeGroups) {
  const Bytes codes = random_bytes(2 * 24, 9);
  const Bytes scales = random_bytes(4, 10, 120, 130);
  EXPECT_NE(load_error(stored(StorageKind::Fp4Row, view("w", DType::I8, {2, 48}, codes),
                              view("s", DType::F8_E8M0, {2, 2}, scales)),
                       128),
            "");
}

TEST(Fp8Row, SeparateAndInRowScalesDecodeAlike) {
  const int64_t rows = 5;
  const int64_t cols = 64;
  const Bytes codes = random_e4m3(static_cast<size_t>(rows * cols), 11);
  const Bytes scales = random_bytes(static_cast<size_t>(rows * 2), 12, 100, 140);
  Bytes joined;
  for (int64_t r = 0; r < rows; ++r) {
    joined.insert(joined.end(), codes.begin() + r * cols, codes.begin() + (r + 1) * cols);
    joined.insert(joined.end(), scales.begin() + r * 2, scales.begin() + (r + 1) * 2);
  }
  const Weight separate =
      make_weight(stored(StorageKind::Fp8Row, view("w", DType::F8_E4M3, {rows, cols}, codes),
                         view("s", DType::F8_E8M0, {rows, 2}, scales)),
                  32);
  const Weight in_row =
      make_weight(stored(StorageKind::Fp8Row, view("w", DType::I8, {rows, cols}, joined)), 32);
  std::vector<float> a(static_cast<size_t>(cols));
  std::vector<float> b(static_cast<size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    decode_row(separate, r, a.data());
    decode_row(in_row, r, b.data());
    EXPECT_EQ(a, b);
    EXPECT_EQ(a[33],
              e4m3_to_f32(byte_at(codes, r * cols + 33)) * e8m0_to_f32(byte_at(scales, r * 2 + 1)));
  }
  EXPECT_DOUBLE_EQ(bits_per_weight(separate), 8.25);
  EXPECT_DOUBLE_EQ(bits_per_weight(in_row), 8.25);
}

TEST(PlainWeight, VectorsScalarsAndStacksAreMatrices) {
  const Bytes data = random_bytes(2 * 3 * 4 * 4, 13, 0, 63);
  const auto make = [&](Shape shape) {
    return make_weight(stored(StorageKind::F32, view("w", DType::F32, std::move(shape), data)), 32);
  };
  EXPECT_EQ(make({24}).rows, 1);
  EXPECT_EQ(make({24}).cols, 24);
  EXPECT_EQ(make({2, 3, 4}).rows, 6);
  EXPECT_EQ(make({2, 3, 4}).row_bytes, 16);
  const Bytes one(4);
  EXPECT_EQ(make_weight(stored(StorageKind::F32, view("w", DType::F32, {}, one)), 32).cols, 1);
}

TEST(PlainWeight, RefusesWhatIsNoWeight) {
  const Bytes data(64);
  const auto error = [&](DType dtype, Shape shape) {
    return load_error(stored(StorageKind::F32, view("w", dtype, std::move(shape), data)), 32);
  };
  EXPECT_EQ(error(DType::F32, {16}), "");
  EXPECT_NE(error(DType::I64, {8}).find("I64"), std::string::npos);
  EXPECT_NE(error(DType::F8_E4M3, {64}), "");
  EXPECT_NE(error(DType::F32, {0, 16}), "");
  EXPECT_NE(error(DType::F32, {17}), "");
  EXPECT_NE(error(DType::Q8_0, {60}).find("multiple of 32"), std::string::npos);
}

TEST(RowHasNan, FindsEachKindOfBadCode) {
  const auto set = [](Bytes& data, size_t i, int value) {
    data[i] = static_cast<std::byte>(value);
  };
  Bytes codes(2 * 32);
  Bytes scales(2, std::byte{127});
  const auto fp8 = [&] {
    return make_weight(stored(StorageKind::Fp8Row, view("w", DType::F8_E4M3, {2, 32}, codes),
                              view("s", DType::F8_E8M0, {2, 1}, scales)),
                       32);
  };
  EXPECT_FALSE(row_has_nan(fp8(), 1));
  set(codes, 40, 0xff);
  EXPECT_FALSE(row_has_nan(fp8(), 0));
  EXPECT_TRUE(row_has_nan(fp8(), 1));
  set(codes, 40, 0);
  set(scales, 1, 255);
  EXPECT_TRUE(row_has_nan(fp8(), 1));

  const auto ggml_row = [](DType dtype, const Bytes& data) {
    const DTypeInfo& info = dtype_info(dtype);
    const auto cols = static_cast<int64_t>(data.size() / info.block_bytes * info.block_elements);
    return row_has_nan(make_weight(stored(StorageKind::F32, view("w", dtype, {1, cols}, data)), 32),
                       0);
  };
  Bytes mxfp4(2 * 17);
  EXPECT_FALSE(ggml_row(DType::MXFP4, mxfp4));
  set(mxfp4, 17, 255);
  EXPECT_TRUE(ggml_row(DType::MXFP4, mxfp4));
  Bytes q8(34, std::byte{1});
  EXPECT_FALSE(ggml_row(DType::Q8_0, q8));
  set(q8, 1, 0x7c);  // an infinite half
  EXPECT_TRUE(ggml_row(DType::Q8_0, q8));
  Bytes f32(8);
  set(f32, 7, 0x7f);
  set(f32, 6, 0x80);  // plus infinity is a value
  EXPECT_FALSE(ggml_row(DType::F32, f32));
  set(f32, 4, 1);
  EXPECT_TRUE(ggml_row(DType::F32, f32));
}

}  // namespace
}  // namespace lethe::quant
