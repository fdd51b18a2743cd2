#include "model/synth/tensor_source.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "model/synth/block_scales.h"
#include "model/synth/random_stream.h"
#include "tensor/rounding.h"

namespace lethe::synth {

namespace {

/// `n` (a power of two) equally likely values of the standard normal distribution, scaled to unit
/// variance. On a grid of 2^-12, so that the last bits of a math library do not matter.
std::vector<double> normal_quantiles(size_t n) {
  std::vector<double> quantiles(n);
  double square_sum = 0;
  for (size_t i = 0; i < n; ++i) {
    const double p = (static_cast<double>(i) + 0.5) / static_cast<double>(n);
    double low = -10;
    double high = 10;
    for (int step = 0; step < 60; ++step) {
      const double x = (low + high) / 2;
      (0.5 * std::erfc(-x / std::numbers::sqrt2) < p ? low : high) = x;
    }
    quantiles[i] = low;
    square_sum += low * low;
  }
  const double unit = std::sqrt(square_sum / static_cast<double>(n));
  for (double& q : quantiles) q = std::round(q / unit * 4096) / 4096;
  return quantiles;
}

constexpr size_t kQuantiles = 4096;
const std::vector<double>& fine_quantiles() {
  static const std::vector<double> quantiles = normal_quantiles(kQuantiles);
  return quantiles;
}

/// Plain numbers: every 16 random bits pick one of 4096 equally likely values.
template <typename T>
class PlainSource final : public TensorSource {
 public:
  PlainSource(std::vector<T> values, RandomStream stream)
      : values_(std::move(values)), stream_(stream) {
    LETHE_CHECK(values_.size() == kQuantiles);
  }
  uint64_t granule() const override { return 4 * sizeof(T); }

  void fill(uint64_t begin, std::span<std::byte> out) const override {
    uint64_t word_index = begin / granule();
    for (size_t done = 0; done < out.size(); done += granule(), ++word_index) {
      const uint64_t bits = stream_.word(word_index);
      std::array<T, 4> four;
      for (size_t i = 0; i < four.size(); ++i) four[i] = values_[(bits >> (16 * i)) % kQuantiles];
      std::memcpy(out.data() + done, four.data(), std::min<size_t>(sizeof four, out.size() - done));
    }
  }

 private:
  std::vector<T> values_;
  RandomStream stream_;
};

/// Bytes replaced through a table: e4m3 codes of normally distributed numbers.
class ByteTableSource final : public TensorSource {
 public:
  ByteTableSource(const std::array<uint8_t, 256>& table, RandomStream stream)
      : table_(table), stream_(stream) {}
  uint64_t granule() const override { return 8; }
  void fill(uint64_t begin, std::span<std::byte> out) const override {
    stream_.fill(begin, out);
    for (std::byte& byte : out) byte = std::byte{table_[static_cast<uint8_t>(byte)]};
  }

 private:
  std::array<uint8_t, 256> table_;
  RandomStream stream_;
};

/// Raw random bytes: packed e2m1, every code equally likely.
class RawSource final : public TensorSource {
 public:
  explicit RawSource(RandomStream stream) : stream_(stream) {}
  uint64_t granule() const override { return 8; }
  void fill(uint64_t begin, std::span<std::byte> out) const override { stream_.fill(begin, out); }

 private:
  RandomStream stream_;
};

/// ggml blocks: random bytes, then the scales.
class BlockSource final : public TensorSource {
 public:
  BlockSource(DType dtype, double std, RandomStream stream)
      : scales_(BlockScales::for_std(dtype, std)),
        block_bytes_(dtype_info(dtype).block_bytes),
        stream_(stream) {}
  uint64_t granule() const override { return 8 * block_bytes_; }
  void fill(uint64_t begin, std::span<std::byte> out) const override {
    stream_.fill(begin, out);
    for (size_t at = 0; at + block_bytes_ <= out.size(); at += block_bytes_) {
      scales_.apply(out.data() + at);
    }
  }

 private:
  BlockScales scales_;
  size_t block_bytes_;
  RandomStream stream_;
};

template <typename Id>
class ExpertIdSource final : public TensorSource {
 public:
  ExpertIdSource(int64_t k, int64_t num_experts, RandomStream stream)
      : k_(static_cast<size_t>(k)), experts_(static_cast<uint64_t>(num_experts)), stream_(stream) {
    LETHE_CHECK(k <= num_experts);
  }
  uint64_t granule() const override { return k_ * sizeof(Id); }
  void fill(uint64_t begin, std::span<std::byte> out) const override {
    std::vector<Id> row(k_);
    uint64_t token = begin / granule();
    for (size_t at = 0; at < out.size(); at += granule(), ++token) {
      fill_row(token, row);
      std::memcpy(out.data() + at, row.data(), granule());
    }
  }

 private:
  void fill_row(uint64_t token, std::vector<Id>& row) const {
    constexpr uint64_t kDrawsPerToken = uint64_t{1} << 32;
    uint64_t draw = token * kDrawsPerToken;
    for (auto slot = row.begin(); slot != row.end();) {
      *slot = static_cast<Id>(stream_.word(draw++) % experts_);
      if (std::find(row.begin(), slot, *slot) == slot) ++slot;
    }
  }

  size_t k_;
  uint64_t experts_;
  RandomStream stream_;
};

template <typename T, typename Round>
TensorSourcePtr plain_source(Distribution distribution, RandomStream stream, Round round) {
  std::vector<T> values;
  values.reserve(kQuantiles);
  for (const double q : fine_quantiles()) {
    values.push_back(round(static_cast<float>(distribution.mean + distribution.std * q)));
  }
  return std::make_unique<PlainSource<T>>(std::move(values), stream);
}

/// Power-of-two scales whose rms is `rms`.
TensorSourcePtr e8m0_scales(double rms, RandomStream stream) {
  const PowerOfTwoMix mix = PowerOfTwoMix::of_rms(rms);
  std::array<uint8_t, 256> table{};
  for (size_t byte = 0; byte < table.size(); ++byte) {
    table[byte] = mix.pick(static_cast<uint8_t>(byte));
  }
  return std::make_unique<ByteTableSource>(table, stream);
}

}  // namespace

TensorSourcePtr random_numbers(DType dtype, Distribution distribution, uint64_t seed,
                               std::string_view name) {
  const RandomStream stream(seed, name);
  switch (dtype) {
    case DType::F32:
      return plain_source<float>(distribution, stream, [](float x) { return x; });
    case DType::BF16:
      return plain_source<uint16_t>(distribution, stream, bf16_bits);
    case DType::F16:
      return plain_source<uint16_t>(distribution, stream, f16_bits);
    default:
      break;
  }
  if (!is_block_encoding(dtype) || distribution.mean != 0) {
    throw UsageError("{}: weights with mean {} cannot be written as {}.", name, distribution.mean,
                     dtype_name(dtype));
  }
  return std::make_unique<BlockSource>(dtype, distribution.std, stream);
}

ScaledSources random_fp8(double std, uint64_t seed, std::string_view name) {
  // Four standard deviations fill the range of e4m3.
  constexpr double unit = 448.0 / 4;
  static const std::vector<double> quantiles = normal_quantiles(256);
  std::array<uint8_t, 256> table{};
  double square_sum = 0;
  for (size_t i = 0; i < table.size(); ++i) {
    table[i] = e4m3_bits(static_cast<float>(quantiles[i] * unit));
    square_sum += std::pow(e4m3_to_f32(table[i]), 2);
  }
  const double code_rms = std::sqrt(square_sum / static_cast<double>(table.size()));
  return {std::make_unique<ByteTableSource>(table, RandomStream(seed, name)),
          e8m0_scales(std / code_rms, RandomStream(seed, std::string(name) + ".scale"))};
}

ScaledSources random_fp4(double std, uint64_t seed, std::string_view name) {
  double square_sum = 0;
  for (uint8_t code = 0; code < 16; ++code) square_sum += std::pow(e2m1_to_f32(code), 2);
  const double code_rms = std::sqrt(square_sum / 16);
  return {std::make_unique<RawSource>(RandomStream(seed, name)),
          e8m0_scales(std / code_rms, RandomStream(seed, std::string(name) + ".scale"))};
}

TensorSourcePtr random_expert_ids(DType dtype, int64_t k, int64_t num_experts, uint64_t seed,
                                  std::string_view name) {
  const RandomStream stream(seed, name);
  if (dtype == DType::I32) return std::make_unique<ExpertIdSource<int32_t>>(k, num_experts, stream);
  LETHE_CHECK(dtype == DType::I64, "expert ids as {}", dtype_name(dtype));
  return std::make_unique<ExpertIdSource<int64_t>>(k, num_experts, stream);
}

bool is_block_encoding(DType dtype) {
  return dtype_info(dtype).block_elements > 1;
}

}  // namespace lethe::synth
