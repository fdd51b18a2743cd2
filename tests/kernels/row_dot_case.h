#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "kernels/activation_batch.h"
#include "kernels/row_dot.h"
#include "quant/fp_formats.h"
#include "quant/k_formats.h"
#include "quant/legacy_formats.h"
#include "quant/weight.h"
#include "tensor/rounding.h"

// What a row dot should give, in f64, and how far f32 rounding can take it from there.

namespace lethe::testing {

inline constexpr double kUnit = 0x1p-24;  // half an ulp of 1 in f32

/// The activations that a kernel sees, as f32: x after the rounding of its format.
inline std::vector<double> seen_activations(const kernels::Activation& token,
                                            kernels::ActivationFormat format, int64_t n) {
  std::vector<double> out(static_cast<size_t>(n));
  for (size_t i = 0; i < out.size(); ++i) {
    switch (format) {
      case kernels::ActivationFormat::F32:
        out[i] = token.f32[i];
        break;
      case kernels::ActivationFormat::Bf16:
        out[i] = bf16_to_f32(token.bf16[i]);
        break;
      case kernels::ActivationFormat::Int8:
        out[i] = static_cast<double>(token.codes[i]) * token.scales[i / 32];
        break;
    }
  }
  return out;
}

/// |scale * code| + |min| of every element of a row, from its groups.
template <typename Format>
std::vector<double> format_magnitudes(const std::byte* row, int64_t n) {
  const auto* data = reinterpret_cast<const uint8_t*>(row);
  std::vector<double> out(static_cast<size_t>(n));
  quant::CodeGroup group;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t g = i / quant::CodeGroup::kSize;
    Format::unpack(data + g / Format::kGroups * Format::kBlockBytes,
                   static_cast<int>(g % Format::kGroups), group);
    const int64_t half = Format::kHalfScales ? i % 32 / 16 : 0;
    out[static_cast<size_t>(i)] =
        std::abs(static_cast<double>(group.scales[half]) * group.codes[i % 32]) +
        std::abs(static_cast<double>(group.mins[half]));
  }
  return out;
}

/// Magnitudes that rounding errors are relative to: |w|, or what cancels in it.
inline std::vector<double> weight_magnitudes(const quant::Weight& w, int64_t r,
                                             const std::vector<float>& decoded) {
  switch (w.encoding) {
    case quant::Encoding::Q4_1:
      return format_magnitudes<quant::Q4_1>(w.row(r), w.cols);
    case quant::Encoding::Q5_1:
      return format_magnitudes<quant::Q5_1>(w.row(r), w.cols);
    case quant::Encoding::Q2_K:
      return format_magnitudes<quant::Q2_K>(w.row(r), w.cols);
    case quant::Encoding::Q4_K:
      return format_magnitudes<quant::Q4_K>(w.row(r), w.cols);
    case quant::Encoding::Q5_K:
      return format_magnitudes<quant::Q5_K>(w.row(r), w.cols);
    default:
      break;
  }
  std::vector<double> out(decoded.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::abs(static_cast<double>(decoded[i]));
  return out;
}

/// Roundings in sequence that one term of a sum of n passes through, at most.
/// Wide: the product, n/16 sums in its lane (rounded up), 4 of the tree.
/// Int8: of the decoded reference 2, scale by weight, the other half, the minimum's 3, scale by
/// activation, n/32 sums.
inline double roundings(kernels::ActivationFormat format, int64_t n) {
  const bool int8 = format == kernels::ActivationFormat::Int8;
  return int8 ? 8.0 + static_cast<double>(n) / 32 : 6.0 + static_cast<double>(n) / 16;
}

struct Expected {
  double dot = 0;
  double tolerance = 0;
};

/// Dot of row r with the activations as the kernel sees them.
inline Expected expected_dot(const quant::Weight& w, int64_t r, const kernels::Activation& token) {
  const kernels::ActivationFormat format = kernels::activation_format(w.encoding);
  std::vector<float> decoded(static_cast<size_t>(w.cols));
  quant::decode_row(w, r, decoded.data());
  const std::vector<double> x = seen_activations(token, format, w.cols);
  const std::vector<double> magnitudes = weight_magnitudes(w, r, decoded);
  Expected e;
  double magnitude = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    e.dot += x[i] * decoded[i];
    magnitude += std::abs(x[i]) * magnitudes[i];
  }
  // Products may also vanish below the normal range.
  e.tolerance =
      roundings(format, w.cols) * kUnit * magnitude + static_cast<double>(w.cols) * 0x1p-149;
  return e;
}

}  // namespace lethe::testing
