#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernel_sets.h"
#include "quant/weight.h"
#include "tensor/checkpoint.h"
#include "tensor/rounding.h"

// Weights of every encoding with random contents, and the sets to try them with.

namespace lethe::testing {

using quant::Encoding;

inline std::vector<float> random_values(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> gaussian;
  std::vector<float> out(static_cast<size_t>(n));
  for (float& v : out) v = gaussian(random);
  if (n > 40) out[static_cast<size_t>(n) / 3] = 60.0F;  // an outlier, as activations have
  return out;
}

// Random bytes of `blocks` blocks whose values are finite and of moderate size.
inline std::vector<std::byte> random_blocks(DType dtype, int64_t blocks, std::mt19937& random) {
  const DTypeInfo& info = dtype_info(dtype);
  std::uniform_int_distribution<int> byte(0, 255);
  std::vector<std::byte> out(static_cast<size_t>(blocks) * info.block_bytes);
  std::vector<float> values(info.block_elements);
  for (int64_t b = 0; b < blocks; ++b) {
    std::byte* block = out.data() + b * info.block_bytes;
    do {
      std::generate_n(block, info.block_bytes,
                      [&] { return static_cast<std::byte>(byte(random)); });
      quant::decode_blocks(dtype, block, 1, values.data());
    } while (
        !std::all_of(values.begin(), values.end(), [](float v) { return std::abs(v) < 1e6F; }));
  }
  return out;
}

// A weight matrix with the bytes it views.
struct OwnedWeight {
  std::vector<std::byte> data;
  std::vector<std::byte> scales;
  quant::Weight weight;
};

/// `fp8_block`: rows and columns of a scale of Fp8Block. Released models have 128; 48 is odd.
inline OwnedWeight random_scaled(Encoding encoding, int64_t rows, int64_t cols, uint32_t seed,
                                 int64_t fp8_block = 48) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> byte(0, 255);
  std::uniform_int_distribution<int> exponent(110, 140);
  const bool fp4 = encoding == Encoding::Fp4Row;
  const int64_t block = encoding == Encoding::Fp8Block ? fp8_block : 32;
  OwnedWeight w;
  w.data.resize(static_cast<size_t>(fp4 ? rows * cols / 2 : rows * cols));
  for (std::byte& b : w.data) {
    int value = byte(random);
    while (!fp4 && value % 128 == 127) value = byte(random);
    b = static_cast<std::byte>(value);
  }
  const int64_t scale_rows = encoding == Encoding::Fp8Block ? (rows + block - 1) / block : rows;
  const int64_t scale_cols = (cols + block - 1) / block;
  w.scales.resize(static_cast<size_t>(scale_rows * scale_cols));
  for (std::byte& b : w.scales) b = static_cast<std::byte>(exponent(random));

  StoredWeight stored;
  stored.kind = fp4                              ? StorageKind::Fp4Row
                : encoding == Encoding::Fp8Block ? StorageKind::Fp8Block
                                                 : StorageKind::Fp8Row;
  stored.tensor.dtype = fp4 ? DType::I8 : DType::F8_E4M3;
  stored.tensor.shape = {rows, cols};
  stored.tensor.data = w.data;
  stored.scale.emplace();
  stored.scale->dtype = DType::F8_E8M0;
  stored.scale->shape = {scale_rows, scale_cols};
  stored.scale->data = w.scales;
  w.weight = quant::make_weight(stored, block);
  return w;
}

inline OwnedWeight random_weight(Encoding encoding, int64_t rows, int64_t cols, uint32_t seed) {
  if (encoding == Encoding::Fp8Block || encoding == Encoding::Fp4Row ||
      encoding == Encoding::Fp8Row) {
    return random_scaled(encoding, rows, cols, seed);
  }
  std::mt19937 random(seed);
  const std::string name(quant::encoding_name(encoding));
  const auto dtypes = all_dtypes();
  const auto dtype = std::find_if(dtypes.begin(), dtypes.end(),
                                  [&](const DTypeInfo& info) { return info.name == name; });
  OwnedWeight w;
  w.data = random_blocks(dtype->dtype, rows * cols / dtype->block_elements, random);
  StoredWeight stored;
  stored.tensor.dtype = dtype->dtype;
  stored.tensor.shape = {rows, cols};
  stored.tensor.data = w.data;
  w.weight = quant::make_weight(stored, 128);
  return w;
}

inline std::vector<int64_t> lengths_of(Encoding encoding) {
  const int64_t block = quant::encoding_block(encoding);
  if (block == 1) return {1, 7, 15, 16, 17, 255, 256, 257, 1000, 4096};
  return {block, 3 * block, 4096};
}

inline std::string encoding_test_name(const ::testing::TestParamInfo<int>& param) {
  std::string name(quant::encoding_name(static_cast<Encoding>(param.param)));
  std::erase_if(name, [](char c) { return c != '_' && std::isalnum(c) == 0; });
  return name;
}

/// Every set that this machine can run.
inline std::vector<const kernels::KernelTable*> runnable_sets() {
  std::vector<const kernels::KernelTable*> sets;
  for (const kernels::KernelSet& set : kernels::kernel_sets()) {
    if (set.table != nullptr) sets.push_back(set.table);
  }
  return sets;
}

}  // namespace lethe::testing
