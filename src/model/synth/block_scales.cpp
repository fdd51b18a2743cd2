#include "model/synth/block_scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "model/synth/random_stream.h"
#include "quant/weight.h"
#include "tensor/rounding.h"

namespace lethe::synth {

namespace {

void store_u16(std::byte* at, uint16_t value) noexcept {
  std::memcpy(at, &value, sizeof value);
}

/// IQ1_M: bits 4k..4k+3 of the f16 scale are the top nibble of the k-th u16.
void store_split_half(std::byte* scales, uint16_t value) noexcept {
  for (int k = 0; k < 4; ++k) {
    std::byte& top = scales[2 * k + 1];
    top = (top & std::byte{0x0f}) | std::byte(static_cast<uint8_t>(((value >> (4 * k)) & 15) << 4));
  }
}

/// Which share of 256 draws must take the larger of two values for this mean square.
uint32_t share_of_larger(double low, double high, double rms) {
  const double share = (rms * rms - low * low) / (high * high - low * low);
  return static_cast<uint32_t>(std::clamp(std::lround(share * 256), 0L, 256L));
}

}  // namespace

PowerOfTwoMix PowerOfTwoMix::of_rms(double rms) {
  LETHE_CHECK(rms > 0x1p-126 && rms < 0x1p126, "scale {}", rms);
  const int exponent = std::ilogb(rms);
  const double low = std::ldexp(1.0, exponent);
  return {static_cast<uint8_t>(exponent + 127), share_of_larger(low, 2 * low, rms)};
}

const BlockScales::Layout& BlockScales::layout_of(DType dtype) {
  static constexpr std::array<Layout, 21> kLayouts = {{
      {DType::Q8_0, Kind::Half, 0, 0},         {DType::Q4_0, Kind::Half, 0, 0},
      {DType::Q4_1, Kind::HalfAndMin, 0, 2},   {DType::Q5_0, Kind::Half, 0, 0},
      {DType::Q5_1, Kind::HalfAndMin, 0, 2},   {DType::MXFP4, Kind::E8m0, 0, 0},
      {DType::NVFP4, Kind::Ue4m3x4, 0, 0},     {DType::IQ4_NL, Kind::Half, 0, 0},
      {DType::Q2_K, Kind::HalfAndMin, 80, 82}, {DType::Q3_K, Kind::Half, 108, 0},
      {DType::Q4_K, Kind::HalfAndMin, 0, 2},   {DType::Q5_K, Kind::HalfAndMin, 0, 2},
      {DType::Q6_K, Kind::Half, 208, 0},       {DType::IQ1_S, Kind::Half, 0, 0},
      {DType::IQ1_M, Kind::SplitHalf, 48, 0},  {DType::IQ2_XXS, Kind::Half, 0, 0},
      {DType::IQ2_XS, Kind::Half, 0, 0},       {DType::IQ2_S, Kind::Half, 0, 0},
      {DType::IQ3_XXS, Kind::Half, 0, 0},      {DType::IQ3_S, Kind::Half, 0, 0},
      {DType::IQ4_XS, Kind::Half, 0, 0},
  }};
  for (const Layout& layout : kLayouts) {
    if (layout.dtype == dtype) return layout;
  }
  throw UsageError("{} is no block encoding.", dtype_name(dtype));
}

struct BlockScales::Moments {
  double mean = 0;
  double rms = 0;
};

/// Moments of random blocks with the scales d and dmin; for scale codes, d is the code.
BlockScales::Moments BlockScales::measure(const Layout& layout, float d, float dmin) {
  constexpr int64_t kBlocks = 512;
  const DTypeInfo& info = dtype_info(layout.dtype);
  std::vector<std::byte> bytes(kBlocks * info.block_bytes);
  RandomStream(0, "block moments").fill(0, bytes);
  BlockScales scales;
  scales.layout_ = layout;
  scales.d_bits_.fill(f16_bits(d));
  scales.dmin_bits_.fill(f16_bits(dmin));
  scales.bytes_ = {static_cast<uint8_t>(d), 0};
  for (int64_t block = 0; block < kBlocks; ++block) {
    scales.apply(bytes.data() + block * info.block_bytes);
  }
  std::vector<float> values(kBlocks * info.block_elements);
  quant::decode_blocks(layout.dtype, bytes.data(), kBlocks, values.data());
  Moments moments;
  for (const float value : values) {
    moments.mean += value;
    moments.rms += double{value} * double{value};
  }
  const auto n = static_cast<double>(values.size());
  moments.mean /= n;
  moments.rms = std::sqrt(moments.rms / n);
  return moments;
}

/// Scales that vary by block from 0.7 to 1.3 of d, in mean square d. Where the codes are not
/// centred, half of them are negative.
void BlockScales::set_half_variants(double d, double dmin, bool alternate_sign) {
  constexpr std::array<double, kVariants> factors = {0.7, 1.2, 0.8, 1.1, 0.9, 1.3, 1.0, 0.85};
  double square_sum = 0;
  for (const double factor : factors) square_sum += factor * factor;
  const double unit = std::sqrt(square_sum / static_cast<double>(kVariants));
  for (size_t i = 0; i < kVariants; ++i) {
    const double factor = (alternate_sign && i % 4 < 2 ? -1 : 1) * factors[i] / unit;
    d_bits_[i] = f16_bits(static_cast<float>(factor * d));
    dmin_bits_[i] = f16_bits(static_cast<float>(factor * dmin));
  }
}

BlockScales BlockScales::for_std(DType dtype, double std) {
  BlockScales scales;
  scales.layout_ = layout_of(dtype);
  const Layout& layout = scales.layout_;
  switch (layout.kind) {
    case Kind::E8m0:
      scales.bytes_ = PowerOfTwoMix::of_rms(std / measure(layout, 127, 0).rms);
      break;
    case Kind::Ue4m3x4: {
      // Scale codes are ordered as their values: the largest whose rms is not above the wanted one.
      constexpr uint8_t kLargest = 0x7d;
      uint8_t code = 1;
      while (code < kLargest && measure(layout, static_cast<float>(code + 1), 0).rms <= std) ++code;
      scales.bytes_ = {code,
                       share_of_larger(measure(layout, code, 0).rms,
                                       measure(layout, static_cast<float>(code + 1), 0).rms, std)};
      break;
    }
    case Kind::HalfAndMin: {
      const double ratio = -measure(layout, 1, 0).mean / measure(layout, 0, 1).mean;
      const double d = std / measure(layout, 1, static_cast<float>(ratio)).rms;
      scales.set_half_variants(d, ratio * d, false);
      break;
    }
    default: {
      constexpr double kCentred = 0.01;
      const Moments moments = measure(layout, 1, 0);
      scales.set_half_variants(std / moments.rms, 0,
                               std::abs(moments.mean) > kCentred * moments.rms);
    }
  }
  return scales;
}

void BlockScales::apply(std::byte* block) const noexcept {
  std::byte* const d = block + layout_.d;
  const size_t variant = static_cast<size_t>(*d) % kVariants;
  switch (layout_.kind) {
    case Kind::Half:
      store_u16(d, d_bits_[variant]);
      break;
    case Kind::HalfAndMin:
      store_u16(d, d_bits_[variant]);
      store_u16(block + layout_.dmin, dmin_bits_[variant]);
      break;
    case Kind::E8m0:
      *d = std::byte{bytes_.pick(static_cast<uint8_t>(*d))};
      break;
    case Kind::Ue4m3x4:
      for (int i = 0; i < 4; ++i) d[i] = std::byte{bytes_.pick(static_cast<uint8_t>(d[i]))};
      break;
    case Kind::SplitHalf:
      store_split_half(d, d_bits_[variant]);
      break;
  }
}

}  // namespace lethe::synth
