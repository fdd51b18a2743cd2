#pragma once

#include "kernels/avx2_turned_codes.h"
#include "kernels/tile_dot.h"

// Panels of 16 rows for tiles in integers with 256-bit vectors (avx2_int8_tile.h): 16 rows are two
// vectors with a lane for each row. Per group of 32 columns, the codes as Products wants them, then
// the scales of the 16 rows (of their halves with kHalfScales), then their minima.
//
// Where scales can be powers of two (kPowers) a panel begins with a line whose first dword is 0 if
// all of them are, of exponents that avx2_int8_tile.h can move around.
//
// All of it is turned, rows to lanes; codes before they are unpacked where that is possible
// (avx2_turned_codes.h) and there are 16 rows with whole steps.

namespace lethe::kernels {
namespace {

constexpr int kHeadBytes = 64;  // of a panel with kPowers

template <typename Format>
constexpr bool kPowersOf = false;
template <>
constexpr bool kPowersOf<MXFP4> = true;
template <>
constexpr bool kPowersOf<Fp4Row> = true;

template <typename Format, typename Products>
struct Panel {
  static constexpr int kScales = Format::kHalfScales ? 2 : 1;
  static constexpr int kScaleRows = kScales * (Format::kMins ? 2 : 1);
  static constexpr int kScaleBytes = 4 * kPanelRows;
  static constexpr int kGroupBytes = Products::kCodeBytes + kScaleRows * kScaleBytes;
  static constexpr bool kPowers = kPowersOf<Format>;
  static constexpr int kHead = kPowers ? kHeadBytes : 0;
};

/// One step of 16 rows: codes by group, and scales (then minima) with a lane for each group.
struct StepRows {
  __m256i codes[kGroups][kPanelRows];
  __m256i scales[4][kPanelRows];
};

LETHE_AVX2_INLINE void turn_rows(const __m256i* rows, __m256i* out) noexcept {
  turn32([&](int r) { return reinterpret_cast<const uint8_t*>(rows + r); }, out);
}

template <typename Format>
LETHE_AVX2_INLINE void unpack_codes(const Step& s, int64_t r, StepRows& out) noexcept {
  __m256i codes[kGroups];
  unpack<Format>(s, codes);
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) out.codes[g][r] = codes[g];
}
template <typename Format>
LETHE_AVX2_INLINE void unpack_scales(const Step& s, int64_t r, StepRows& out) noexcept {
  StepScales scales;
  Format::scales(s, scales);
  constexpr int kScales = Format::kHalfScales ? 2 : 1;
#pragma GCC unroll 2
  for (int h = 0; h < kScales; ++h) {
    out.scales[h][r] = _mm256_castps_si256(scales.scales[h]);
    if constexpr (Format::kMins) {
      out.scales[kScales + h][r] = _mm256_castps_si256(scales.mins[h]);
    }
  }
}

template <typename Format>
[[gnu::noinline]] void unpack_tail(const WeightRow& row, int64_t step, int64_t groups, int64_t r,
                                   StepRows& out) noexcept {
  const PaddedStep<Format> padded(row, step, groups);
  unpack_codes<Format>(padded.step(), r, out);
  unpack_scales<Format>(padded.step(), r, out);
}

/// The codes of the first `groups` groups of a step.
template <typename Format, typename Products>
void store_codes(const StepRows& step, int64_t groups, std::byte* panel) noexcept {
  for (int h = 0; h < kRowHalves; ++h) {
    for (int64_t g = 0; g < groups; ++g) {
      __m256i turned[kCodeVectors];
      turn_rows(step.codes[g] + kHalfRows * h, turned);
      Products::store(turned, panel + g * Panel<Format, Products>::kGroupBytes + 32 * h);
    }
  }
}

// Scales w of weights that are these powers of two, with scales a of tokens from 2^-kTokenRange to
// 2^kTokenRange or zero: then w * a * S is zero or normal for integers |S| < 2^17, and so is a * S,
// and the rounding of a * S is that of w * a * S.
constexpr int kLeastPower = -48;
constexpr int kNumPowers = 64;  // from 2^kLeastPower on; itself a power of two
constexpr int kTokenRange = 40;

/// Its scales. Returns the bits that tell that one is not among the powers: those of a mantissa, or
/// of an exponent outside of their range. (Rows missing to 16 are not: their scales are zero.)
template <typename Format, typename Products>
__m256i store_scales(const StepRows& step, int64_t groups, std::byte* panel) noexcept {
  using Panel = Panel<Format, Products>;
  const __m256i least_power = _mm256_set1_epi32((127 + kLeastPower) << 23);
  __m256i found = _mm256_setzero_si256();
  for (int h = 0; h < kRowHalves; ++h) {
    for (int v = 0; v < Panel::kScaleRows; ++v) {
      __m256i turned[kGroups];
      turn_rows(step.scales[v] + kHalfRows * h, turned);
      std::byte* out = panel + Products::kCodeBytes + Panel::kScaleBytes * v + 32 * h;
      for (int64_t g = 0; g < groups; ++g) {
        store_aligned(out + g * Panel::kGroupBytes, turned[g]);
        if constexpr (Panel::kPowers) {
          found = _mm256_or_si256(found, _mm256_sub_epi32(turned[g], least_power));
        }
      }
    }
  }
  return _mm256_andnot_si256(_mm256_set1_epi32((kNumPowers - 1) << 23), found);
}

template <typename Format, typename Products>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  using Panel = Panel<Format, Products>;
  StepRows step;
  if (num_rows < kPanelRows) __builtin_memset(&step, 0, sizeof(step));
  __m256i other = _mm256_setzero_si256();
  const int64_t steps = n / kStep;
  std::byte* out = panel + Panel::kHead;
  for (int64_t s = 0; s < steps; ++s, out += kGroups * Panel::kGroupBytes) {
    bool turned = false;
    if constexpr (Turned<Format>::kHas) {
      turned = num_rows == kPanelRows;
      for (int h = 0; turned && h < kRowHalves; ++h) {
        Turned<Format>::template codes<Products, Panel::kGroupBytes>(rows + kHalfRows * h, s,
                                                                     out + 32 * h);
      }
    }
    for (int64_t r = 0; r < num_rows; ++r) {
      const Step of_row = step_at<Format>(rows[r], s);
      unpack_scales<Format>(of_row, r, step);
      if (!turned) unpack_codes<Format>(of_row, r, step);
    }
    if (!turned) store_codes<Format, Products>(step, kGroups, out);
    other = _mm256_or_si256(other, store_scales<Format, Products>(step, kGroups, out));
  }
  if (has_tail<Format>(n)) {
    const int64_t rest = (n - steps * kStep) / kGroup;
    for (int64_t r = 0; r < num_rows; ++r) unpack_tail<Format>(rows[r], steps, rest, r, step);
    store_codes<Format, Products>(step, rest, out);
    other = _mm256_or_si256(other, store_scales<Format, Products>(step, rest, out));
  }
  if constexpr (Panel::kPowers) {
    const int32_t plain = 1 - _mm256_testz_si256(other, other);
    __builtin_memcpy(panel, &plain, sizeof(plain));
  }
}

}  // namespace
}  // namespace lethe::kernels
