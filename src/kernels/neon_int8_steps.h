#pragma once

#include "kernels/int8_encodings.h"
#include "kernels/kernel_table.h"
#include "kernels/neon_codebook_formats.h"
#include "kernels/neon_k_formats.h"

// Steps of 8 groups of a row, and their ends.

namespace lethe::kernels {
namespace {

template <typename Format>
LETHE_NEON_INLINE Step step_at(const WeightRow& row, int64_t step) noexcept {
  Step s{reinterpret_cast<const uint8_t*>(row.data) + Format::kStepBytes * step, nullptr,
         row.scales_f32};
  if constexpr (Format::kOwnScales) {
    s.scales = reinterpret_cast<const uint8_t*>(row.scales) +
               (row.scales_f32 ? 4 * kGroups : kGroups) * step;
  }
  return s;
}

/// The last, partial step of a row, with zeros after it: zero codes add nothing to a sum.
template <typename Format>
struct PaddedStep {
  uint8_t data[Format::kStepBytes] = {};
  uint8_t scales[4 * kGroups] = {};
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

/// Groups of the last step of a row of n, if it is a partial one.
template <typename Format>
constexpr int64_t tail_groups(int64_t n) noexcept {
  return Format::kWhole ? 0 : n % kStep / kGroup;
}

/// Installer::install<Format>(table, encoding) for every format.
template <typename Installer>
LETHE_NEON_INLINE void for_all_formats(KernelTable& table) noexcept {
  using quant::Encoding;
#define LETHE_SET(name) Installer::template install<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace
}  // namespace lethe::kernels
