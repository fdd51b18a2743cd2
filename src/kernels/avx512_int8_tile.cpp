#include "kernels/avx512.h"
#include "kernels/avx512_int8_formats.h"

// Tiles in integers. A panel holds 16 rows with a vector lane for each: per group of 32 columns, 8
// vectors whose dword r is 4 codes + 128 of row r, then the scales of the 16 rows (two vectors with
// kHalfScales), then their minima. A token's 4 codes are broadcast to all lanes; a sum starts at
// -128 times the token's sum of codes, so that it ends as that of signed products. Group values are
// added group by group in a lane, which is row order (kernels/row_dot.h).

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kGroups = 8;  // of a narrow step
constexpr int64_t kStep = kGroup * kGroups;
constexpr int kCodeVectors = 8;  // of a group

template <typename Narrow>
struct Panel {
  static constexpr int kScales = Narrow::kHalfScales ? 2 : 1;
  static constexpr int kVectors = kCodeVectors + kScales * (Narrow::kMins ? 2 : 1);
  static constexpr int kGroupBytes = 64 * kVectors;
};

// --- packing

template <typename Narrow>
LETHE_AVX512_INLINE Step step_at(const WeightRow& row, int64_t step) noexcept {
  Step s{reinterpret_cast<const uint8_t*>(row.data) + Narrow::kStepBytes * step, nullptr,
         row.scales_f32};
  if constexpr (Narrow::kOwnScales) {
    s.scales = reinterpret_cast<const uint8_t*>(row.scales) +
               (row.scales_f32 ? 4 * kGroups : kGroups) * step;
  }
  return s;
}

/// One step of 16 rows: codes + 128, two groups to a vector, and scales by row.
struct StepRows {
  __m512i codes[kPanelRows][4];
  alignas(32) float scales[4][kPanelRows][kGroups];  // scales, then minima; of halves or not
};

template <typename Narrow>
LETHE_AVX512_INLINE void unpack_row(const Step& s, int64_t r, StepRows& out) noexcept {
  Widened<Narrow>::codes(s, out.codes[r]);
  StepScales scales;
  Narrow::scales(s, scales);
  constexpr int kScales = Panel<Narrow>::kScales;
#pragma GCC unroll 2
  for (int h = 0; h < kScales; ++h) {
    _mm256_store_ps(out.scales[h][r], scales.scales[h]);
    if constexpr (Narrow::kMins) _mm256_store_ps(out.scales[kScales + h][r], scales.mins[h]);
  }
}

/// The last, partial step of a row with zeros after it.
template <typename Narrow>
void unpack_tail(const WeightRow& row, int64_t step, int64_t groups, int64_t r,
                 StepRows& out) noexcept {
  alignas(32) uint8_t data[Narrow::kStepBytes] = {};
  alignas(32) uint8_t scales[4 * kGroups] = {};
  const Step s = step_at<Narrow>(row, step);
  __builtin_memcpy(data, s.data, static_cast<size_t>(Narrow::kStepBytes * groups / kGroups));
  if constexpr (Narrow::kOwnScales) {
    __builtin_memcpy(scales, s.scales, static_cast<size_t>(groups * (s.scales_f32 ? 4 : 1)));
  }
  unpack_row<Narrow>({data, scales, s.scales_f32}, r, out);
}

/// The first `groups` groups of a step, turned so that rows are lanes.
template <typename Narrow>
void store_step(const StepRows& step, int64_t groups, std::byte* panel) noexcept {
  constexpr int kGroupBytes = Panel<Narrow>::kGroupBytes;
  for (int64_t pair = 0; 2 * pair < groups; ++pair) {
    __m512i rows[16];
    __m512i turned[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = step.codes[r][pair];
    transpose16(rows, turned);
    std::byte* out = panel + 2 * pair * kGroupBytes;
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) _mm512_store_si512(out + 64 * v, turned[v]);
    if (2 * pair + 1 == groups) break;
    out += kGroupBytes;
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) _mm512_store_si512(out + 64 * v, turned[8 + v]);
  }
  for (int v = 0; v < Panel<Narrow>::kVectors - kCodeVectors; ++v) {
    for (int64_t g = 0; g < groups; ++g) {
      auto* out = reinterpret_cast<float*>(panel + g * kGroupBytes + 64 * (kCodeVectors + v));
      for (int r = 0; r < 16; ++r) out[r] = step.scales[v][r][g];
    }
  }
}

template <typename Narrow>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  StepRows step;
  if (num_rows < kPanelRows) __builtin_memset(&step, 0, sizeof(step));
  const int64_t steps = n / kStep;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t r = 0; r < num_rows; ++r) unpack_row<Narrow>(step_at<Narrow>(rows[r], s), r, step);
    store_step<Narrow>(step, kGroups, panel + s * kGroups * Panel<Narrow>::kGroupBytes);
  }
  const int64_t rest = (n - steps * kStep) / kGroup;
  if (rest != 0) {
    for (int64_t r = 0; r < num_rows; ++r) unpack_tail<Narrow>(rows[r], steps, rest, r, step);
    store_step<Narrow>(step, rest, panel + steps * kGroups * Panel<Narrow>::kGroupBytes);
  }
}

// --- multiplying

LETHE_AVX512_INLINE __m512i all_lanes(const void* four_bytes) noexcept {
  int32_t value;
  __builtin_memcpy(&value, four_bytes, sizeof(value));
  return _mm512_set1_epi32(value);
}

/// bias + products of code vectors [kFirst, kFirst + kCount) with kTokens tokens' codes.
template <int kFirst, int kCount, int kTokens>
LETHE_AVX512_INLINE void add_products(const __m512i* w, const int8_t (*x)[32], const int32_t* bias,
                                      __m512i* sums) noexcept {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_set1_epi32(bias[t]);
#pragma GCC unroll 8
  for (int v = kFirst; v < kFirst + kCount; ++v) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_dpbusd_epi32(sums[t], w[v], all_lanes(x[t] + 4 * v));
    }
  }
}

/// kTokens tokens from `first` on; their sums stay in registers for all groups.
template <typename Narrow, int kTokens>
LETHE_AVX512_INLINE void multiply(const std::byte* panel, int64_t groups, const Int8TileGroup* tile,
                                  int64_t first, __m512* sums) noexcept {
  constexpr int kTogether = 4;  // tokens whose chains of products overlap
  constexpr int kScales = Panel<Narrow>::kScales;
  __m512 totals[kTokens];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) totals[t] = _mm512_setzero_ps();
  for (int64_t g = 0; g < groups; ++g, panel += Panel<Narrow>::kGroupBytes) {
    const Int8TileGroup& x = tile[g];
    __m512i w[kCodeVectors];
    __m512 scales[4];
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) w[v] = load512(panel + 64 * v);
#pragma GCC unroll 4
    for (int v = 0; v < Panel<Narrow>::kVectors - kCodeVectors; ++v) {
      scales[v] = _mm512_castsi512_ps(load512(panel + 64 * (kCodeVectors + v)));
    }
#pragma GCC unroll 4
    for (int q = 0; q < kTokens; q += kTogether) {
      const int64_t at = first + q;
      __m512 values[kTogether];
      if constexpr (Narrow::kHalfScales) {
        __m512i half[2][kTogether];
        add_products<0, 4, kTogether>(w, x.codes + at, x.bias[1] + at, half[0]);
        add_products<4, 4, kTogether>(w, x.codes + at, x.bias[2] + at, half[1]);
#pragma GCC unroll 4
        for (int t = 0; t < kTogether; ++t) {
          values[t] = _mm512_add_ps(_mm512_mul_ps(scales[0], _mm512_cvtepi32_ps(half[0][t])),
                                    _mm512_mul_ps(scales[1], _mm512_cvtepi32_ps(half[1][t])));
        }
      } else {
        __m512i whole[kTogether];
        add_products<0, 8, kTogether>(w, x.codes + at, x.bias[0] + at, whole);
#pragma GCC unroll 4
        for (int t = 0; t < kTogether; ++t) {
          values[t] = _mm512_mul_ps(scales[0], _mm512_cvtepi32_ps(whole[t]));
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) {
        const __m512 scale = _mm512_set1_ps(x.scales[at + t]);
        __m512 value = _mm512_mul_ps(values[t], scale);
        if constexpr (Narrow::kMins) {
          __m512 mins;
          if constexpr (Narrow::kHalfScales) {
            mins = _mm512_add_ps(
                _mm512_mul_ps(scales[kScales], _mm512_set1_ps(x.sums[1][at + t])),
                _mm512_mul_ps(scales[kScales + 1], _mm512_set1_ps(x.sums[2][at + t])));
          } else {
            mins = _mm512_mul_ps(scales[kScales], _mm512_set1_ps(x.sums[0][at + t]));
          }
          value = _mm512_sub_ps(value, _mm512_mul_ps(scale, mins));
        }
        totals[q + t] = _mm512_add_ps(totals[q + t], value);
      }
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) sums[first + t] = totals[t];
}

template <typename Narrow>
void dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
         float* out, int64_t out_stride) noexcept {
  const int64_t groups = n / kGroup;
  __m512 sums[kTileTokens];
  // As many at once as registers hold, then by fours.
  constexpr int kMany = Narrow::kHalfScales || Narrow::kMins ? 8 : 16;
  int64_t t = 0;
  while (t < tile.count) {
    const int64_t rest = tile.count - t;
    if (kMany == 16 && rest > 12) {
      multiply<Narrow, kMany>(panel, groups, tile.int8, t, sums);
      t += kMany;
    } else if (rest > 4) {
      multiply<Narrow, 8>(panel, groups, tile.int8, t, sums);
      t += 8;
    } else {
      multiply<Narrow, 4>(panel, groups, tile.int8, t, sums);
      t += 4;
    }
  }
  const auto present = static_cast<__mmask16>((1u << num_rows) - 1);
  for (t = 0; t < tile.count; ++t) _mm512_mask_storeu_ps(out + t * out_stride, present, sums[t]);
}

template <typename Narrow>
void set(KernelTable& table, Encoding encoding) noexcept {
  TileKernel& tile = table.tile[static_cast<size_t>(encoding)];
  tile.group_bytes = Panel<Narrow>::kGroupBytes;
  tile.pack = pack<Narrow>;
  tile.dot = dot<Narrow>;
}

}  // namespace

void install_avx512_int8_tile(KernelTable& table) noexcept {
  set<Fp4Row>(table, Encoding::Fp4Row);
  set<Q8_0>(table, Encoding::Q8_0);
  set<Q4_0>(table, Encoding::Q4_0);
  set<Q4_1>(table, Encoding::Q4_1);
  set<Q5_0>(table, Encoding::Q5_0);
  set<Q5_1>(table, Encoding::Q5_1);
  set<MXFP4>(table, Encoding::MXFP4);
  set<NVFP4>(table, Encoding::NVFP4);
  set<IQ4_NL>(table, Encoding::IQ4_NL);
  set<Q2_K>(table, Encoding::Q2_K);
  set<Q3_K>(table, Encoding::Q3_K);
  set<Q4_K>(table, Encoding::Q4_K);
  set<Q5_K>(table, Encoding::Q5_K);
  set<Q6_K>(table, Encoding::Q6_K);
  set<IQ1_S>(table, Encoding::IQ1_S);
  set<IQ1_M>(table, Encoding::IQ1_M);
  set<IQ2_XXS>(table, Encoding::IQ2_XXS);
  set<IQ2_XS>(table, Encoding::IQ2_XS);
  set<IQ2_S>(table, Encoding::IQ2_S);
  set<IQ3_XXS>(table, Encoding::IQ3_XXS);
  set<IQ3_S>(table, Encoding::IQ3_S);
  set<IQ4_XS>(table, Encoding::IQ4_XS);
}

}  // namespace lethe::kernels
