#pragma once

#include "kernels/avx2_codebook_formats.h"
#include "kernels/row_dot.h"

// Where the steps of a row with Int8 activations lie, for the translation units that unpack them.

namespace lethe::kernels {
namespace {

constexpr int kGroup = 32;
constexpr int kGroups = 8;               // of a step
constexpr int kStep = kGroup * kGroups;  // elements

template <typename Format>
LETHE_AVX2_INLINE Step step_at(const WeightRow& row, int64_t step) noexcept {
  Step s{reinterpret_cast<const uint8_t*>(row.data) + Format::kStepBytes * step, nullptr,
         row.scales_f32};
  if constexpr (Format::kOwnScales) {
    s.scales = reinterpret_cast<const uint8_t*>(row.scales) +
               (row.scales_f32 ? 4 * kGroups : kGroups) * step;
  }
  return s;
}

/// The last, partial step of a row, with zeros after it.
template <typename Format>
struct PaddedStep {
  alignas(32) uint8_t data[Format::kStepBytes] = {};
  alignas(32) uint8_t scales[4 * kGroups] = {};
  bool scales_f32;

  PaddedStep(const WeightRow& row, int64_t step, int64_t groups) noexcept
      : scales_f32(row.scales_f32) {
    const Step s = step_at<Format>(row, step);
    __builtin_memcpy(data, s.data, static_cast<size_t>(Format::kStepBytes / kGroups * groups));
    if constexpr (Format::kOwnScales) {
      __builtin_memcpy(scales, s.scales, static_cast<size_t>(groups * (scales_f32 ? 4 : 1)));
    }
  }
  Step step() const noexcept { return {data, scales, scales_f32}; }
};

template <typename Format>
constexpr bool has_tail(int64_t n) noexcept {
  return !Format::kWhole && n % kStep != 0;
}

template <typename Format>
LETHE_AVX2_INLINE void unpack(const Step& s, __m256i* codes) noexcept {
  Format::template pair<0>(s, codes[0], codes[1]);
  Format::template pair<1>(s, codes[2], codes[3]);
  Format::template pair<2>(s, codes[4], codes[5]);
  Format::template pair<3>(s, codes[6], codes[7]);
}

}  // namespace
}  // namespace lethe::kernels
