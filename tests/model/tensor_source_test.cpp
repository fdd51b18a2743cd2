#include "model/synth/tensor_source.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "model/synth/random_stream.h"
#include "quant/weight.h"
#include "tensor/rounding.h"

namespace lethe::synth {
namespace {

std::vector<std::byte> bytes_of(const TensorSource& source, size_t size) {
  std::vector<std::byte> bytes(size);
  source.fill(0, bytes);
  return bytes;
}

struct Moments {
  double mean = 0;
  double std = 0;
  double largest = 0;
};

Moments moments_of(const std::vector<float>& values) {
  Moments m;
  for (const float v : values) {
    m.mean += v;
    m.largest = std::max<double>(m.largest, std::abs(v));
  }
  m.mean /= static_cast<double>(values.size());
  for (const float v : values) m.std += (v - m.mean) * (v - m.mean);
  m.std = std::sqrt(m.std / static_cast<double>(values.size()));
  return m;
}

std::vector<DType> number_dtypes() {
  std::vector<DType> dtypes = {DType::F32, DType::BF16, DType::F16};
  for (const DTypeInfo& info : all_dtypes()) {
    if (is_block_encoding(info.dtype)) dtypes.push_back(info.dtype);
  }
  return dtypes;
}

// The standard deviations of real matrices: 1/sqrt(in) for 64 to 32768 inputs, and embeddings.
TEST(TensorSource, EveryEncodingHasTheWantedMoments) {
  for (const DType dtype : number_dtypes()) {
    for (const double std : {1.0, 0.125, 0.02, 0.0055}) {
      const DTypeInfo& info = dtype_info(dtype);
      const size_t blocks = (size_t{1} << 18) / info.block_elements;
      const auto source = random_numbers(dtype, {0, std}, 7, "w");
      const std::vector<std::byte> bytes = bytes_of(*source, blocks * info.block_bytes);
      std::vector<float> values(blocks * info.block_elements);
      quant::decode_blocks(dtype, bytes.data(), static_cast<int64_t>(blocks), values.data());
      const Moments m = moments_of(values);
      EXPECT_NEAR(m.std / std, 1, 0.04) << dtype_name(dtype) << " std " << std;
      EXPECT_NEAR(m.mean / std, 0, 0.02) << dtype_name(dtype) << " std " << std;
      EXPECT_LT(m.largest, 12 * std) << dtype_name(dtype) << " std " << std;
    }
  }
}

TEST(TensorSource, PlainNumbersHaveTheWantedMean) {
  const auto source = random_numbers(DType::BF16, {1, 0.1}, 7, "norm");
  const std::vector<std::byte> bytes = bytes_of(*source, 1 << 16);
  std::vector<float> values(bytes.size() / 2);
  quant::decode_blocks(DType::BF16, bytes.data(), static_cast<int64_t>(values.size()),
                       values.data());
  EXPECT_NEAR(moments_of(values).mean, 1, 0.005);
  EXPECT_NEAR(moments_of(values).std, 0.1, 0.005);
}

Moments scaled_moments(const ScaledSources& sources, bool fp4, bool* nan_seen) {
  constexpr size_t kGroups = 8192;
  const std::vector<std::byte> codes = bytes_of(*sources.codes, kGroups * (fp4 ? 16 : 32));
  const std::vector<std::byte> scales = bytes_of(*sources.scales, kGroups);
  std::vector<float> values(kGroups * 32);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto byte = static_cast<uint8_t>(codes[fp4 ? i / 2 : i]);
    const float code = fp4 ? e2m1_to_f32(i % 2 == 0 ? byte & 15 : byte >> 4) : e4m3_to_f32(byte);
    values[i] = code * e8m0_to_f32(static_cast<uint8_t>(scales[i / 32]));
    *nan_seen = *nan_seen || std::isnan(values[i]);
  }
  return moments_of(values);
}

TEST(TensorSource, ReleasedFormatsHaveTheWantedMoments) {
  for (const double std : {1.0, 0.3, 0.0156, 0.0055}) {
    bool nan_seen = false;
    const Moments fp8 = scaled_moments(random_fp8(std, 3, "a"), false, &nan_seen);
    const Moments fp4 = scaled_moments(random_fp4(std, 3, "a"), true, &nan_seen);
    EXPECT_FALSE(nan_seen);
    for (const Moments& m : {fp8, fp4}) {
      EXPECT_NEAR(m.std / std, 1, 0.03) << std;
      EXPECT_NEAR(m.mean / std, 0, 0.02) << std;
    }
  }
}

TEST(TensorSource, PiecesGiveTheSameBytes) {
  std::vector<TensorSourcePtr> sources;
  for (const DType dtype : number_dtypes()) {
    sources.push_back(random_numbers(dtype, {0, 0.02}, 7, "w"));
  }
  sources.push_back(random_fp8(0.02, 7, "w").codes);
  sources.push_back(random_fp4(0.02, 7, "w").scales);
  sources.push_back(random_expert_ids(DType::I64, 3, 8, 7, "w"));
  for (const TensorSourcePtr& source : sources) {
    const uint64_t granule = source->granule();
    const std::vector<std::byte> whole = bytes_of(*source, 21 * granule);
    std::vector<std::byte> pieces(whole.size());
    for (const auto& [first, count] : {std::pair<size_t, size_t>{0, 1}, {1, 13}, {14, 7}}) {
      source->fill(first * granule, std::span(pieces).subspan(first * granule, count * granule));
    }
    EXPECT_EQ(whole, pieces);
  }
}

TEST(TensorSource, SeedAndNameDecideTheBytes) {
  const auto bytes = [](uint64_t seed, const char* name) {
    return bytes_of(*random_numbers(DType::Q8_0, {0, 0.02}, seed, name), 3400);
  };
  EXPECT_EQ(bytes(1, "a"), bytes(1, "a"));
  EXPECT_NE(bytes(1, "a"), bytes(2, "a"));
  EXPECT_NE(bytes(1, "a"), bytes(1, "b"));
}

TEST(TensorSource, ExpertIdsAreDistinctAndInRange) {
  constexpr int64_t kExperts = 8;
  for (const int64_t k : {1, 3, 8}) {
    const auto source = random_expert_ids(DType::I64, k, kExperts, 5, "tid2eid");
    const std::vector<std::byte> bytes = bytes_of(*source, static_cast<size_t>(k) * 8 * 500);
    std::set<int64_t> seen;
    for (size_t row = 0; row < 500; ++row) {
      std::set<int64_t> ids;
      for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
        ids.insert(load_unaligned<int64_t>(bytes.data() + (row * static_cast<size_t>(k) + i) * 8));
      }
      EXPECT_EQ(static_cast<int64_t>(ids.size()), k);
      EXPECT_GE(*ids.begin(), 0);
      EXPECT_LT(*ids.rbegin(), kExperts);
      seen.insert(ids.begin(), ids.end());
    }
    EXPECT_EQ(static_cast<int64_t>(seen.size()), kExperts);
  }
}

}  // namespace
}  // namespace lethe::synth
