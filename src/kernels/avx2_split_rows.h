#pragma once

#include "kernels/avx2_int8_rows.h"
#include "kernels/avx2_split_codes.h"

// Rows of the formats of avx2_split_codes.h with one token, whose activations are put beside each
// other as the codes are, once for all rows. Only for translation units with wide flags.
//
// Products, beyond what avx2_int8_rows.h wants:
//   one(w, x)           products of 32 codes, unsigned and signed
//   two(w, x, v, y)     those of both, added
//   join(a, b)          of sums in which dword j of a 128-bit half is of one vector: those of a and
//                       b side by side, added in twos
//   finish(a, b)        the same for a and b of join(): 32-bit sums of 4 vectors side by side

namespace lethe::kernels {
namespace {

/// What 16 bits must hold: with one scale per group 8 products of a code, else 4 (of halves).
template <typename Format>
constexpr bool fits_split_rows() noexcept {
  constexpr int kProducts = Format::kHalfScales ? 4 : 8;
  return Split<Format>::kAny &&
         kProducts * (Codes<Format>::kMost - Codes<Format>::kLeast) * 127 <= 32767;
}

/// A token's activations of one step.
struct SplitActivations {
  alignas(32) int8_t codes[kStep];
  alignas(32) float scales[kGroups];
  alignas(32) int32_t offsets[2][kGroups];  // what the codes' offset added to the sums
  alignas(32) float sums[2][kGroups];       // of codes, for minima
};

template <SplitOrder order>
LETHE_AVX2_INLINE __m256i in_split_order(__m256i codes) noexcept {
  if constexpr (order == SplitOrder::Halves) return codes;
  const __m256i parities = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(codes, parities), 0xD8);
}

template <typename Format>
LETHE_AVX2_INLINE void split_activations(const StepActivations& x, SplitActivations& out) noexcept {
  constexpr SplitOrder kOrder = Split<Format>::kOrder;
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m256i one = in_split_order<kOrder>(load256(x.codes + kGroup * g));
    const __m256i other = in_split_order<kOrder>(load256(x.codes + kGroup * (g + 4)));
    auto* to = reinterpret_cast<__m256i*>(out.codes + 2 * kGroup * g);
    _mm256_store_si256(to, _mm256_permute2x128_si256(one, other, 0x20));
    _mm256_store_si256(to + 1, _mm256_permute2x128_si256(one, other, 0x31));
  }
  for (int g = 0; g < kGroups; ++g) {
    const int32_t first = x.sums[2 * g];
    const int32_t last = x.sums[2 * g + 1];
    const int32_t sums[2] = {Format::kHalfScales ? first : first + last, last};
    out.scales[g] = x.scales[g];
    for (int h = 0; h < (Format::kHalfScales ? 2 : 1); ++h) {
      out.offsets[h][g] = Codes<Format>::kLeast * sums[h];
      out.sums[h][g] = static_cast<float>(sums[h]);
    }
  }
}

template <typename Format, typename Products, int g>
LETHE_AVX2_INLINE void group_products(const Step& s, const SplitActivations& x,
                                      __m256i* out) noexcept {
  __m256i first;
  __m256i last;
  Split<Format>::template pair<g>(s, first, last);
  const __m256i a = load256(x.codes + 2 * kGroup * g);
  const __m256i b = load256(x.codes + 2 * kGroup * g + kGroup);
  if constexpr (Format::kHalfScales) {
    out[0] = Products::one(first, a);
    out[1] = Products::one(last, b);
  } else {
    out[0] = Products::two(first, a, last, b);
  }
}

/// The values of a step's 8 groups.
template <typename Format, typename Products>
LETHE_AVX2_INLINE __m256 split_values(const Step& s, const SplitActivations& x) noexcept {
  constexpr int kSums = Format::kHalfScales ? 2 : 1;
  __m256i p[4][kSums];
  group_products<Format, Products, 0>(s, x, p[0]);
  group_products<Format, Products, 1>(s, x, p[1]);
  group_products<Format, Products, 2>(s, x, p[2]);
  group_products<Format, Products, 3>(s, x, p[3]);
  StepScales w;
  Format::scales(s, w);
  __m256 value;
#pragma GCC unroll 2
  for (int h = 0; h < kSums; ++h) {
    __m256i sum =
        Products::finish(Products::join(p[0][h], p[1][h]), Products::join(p[2][h], p[3][h]));
    if constexpr (Codes<Format>::kLeast != 0) {
      sum = _mm256_add_epi32(sum, load256(x.offsets[h]));
    }
    const __m256 product = _mm256_mul_ps(w.scales[h], to_f32(sum));
    value = h == 0 ? product : _mm256_add_ps(value, product);
  }
  const __m256 scale = _mm256_load_ps(x.scales);
  value = _mm256_mul_ps(value, scale);
  if constexpr (Format::kMins) {
    __m256 mins = _mm256_mul_ps(w.mins[0], _mm256_load_ps(x.sums[0]));
    if constexpr (kSums == 2) {
      mins = _mm256_add_ps(mins, _mm256_mul_ps(w.mins[1], _mm256_load_ps(x.sums[1])));
    }
    value = _mm256_sub_ps(value, _mm256_mul_ps(scale, mins));
  }
  return value;
}

/// Steps of a token for rows_dot (avx2_int8_rows.h).
template <typename Format, typename Products>
class SplitSteps {
 public:
  SplitSteps(const Activation& token, int64_t first, int64_t whole, int64_t rest) noexcept {
    for (int64_t s = 0; s < whole; ++s) {
      split_activations<Format>(activations_at(token, first + s), steps_[s]);
    }
    if (rest != 0) {
      const PaddedActivations padded(token, first + whole, rest);
      split_activations<Format>(padded.view(), steps_[whole]);
    }
  }
  LETHE_AVX2_INLINE __m256 values(const Step& s, int64_t i) const noexcept {
    return split_values<Format, Products>(s, steps_[i]);
  }

 private:
  SplitActivations steps_[kChunk];
};

/// rows_dot as fits the format best.
template <typename Format, typename Products>
void set_rows(KernelTable& table, quant::Encoding encoding) noexcept {
  const auto index = static_cast<size_t>(encoding);
  table.row_dot[index] = row_dot<Format, Products>;
  if constexpr (fits_split_rows<Format>()) {
    table.rows_dot[index] = rows_dot<Format, SplitSteps<Format, Products>>;
  } else {
    table.rows_dot[index] = rows_dot<Format, PlainSteps<Format, Products>>;
  }
}

}  // namespace
}  // namespace lethe::kernels
