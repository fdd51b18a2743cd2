#include "kernels/avx512.h"
#include "kernels/avx512_hot_formats.h"

// Several rows with one token, in integers: 16 groups of 32 of each of 4 rows are a step, a vector
// lane each from the sums of code products on. Then the values of 4 rows are turned, so that the
// values of a group are added with a lane for each row, in row order (kernels/row_dot.h).

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kRows = 4;          // whose sums share a vector
constexpr int64_t kChunk = 16;    // steps whose activations are prepared at a time
constexpr int64_t kAhead = 2048;  // bytes that are asked for before they are read
bool ask_ahead = true;            // set once, at installation

/// A token's activations of one step, in the order of a format.
template <typename Format>
struct StepActivations {
  __m512i codes[8];
  __m512 scales;
  __m512i bias[2];  // kBias times the sums of codes, as Format::sums has them
  __m512 sums[2];   // of codes, as the minima want them

  LETHE_AVX512_INLINE void prepare(const int8_t* x, const float* x_scales,
                                   const int32_t* x_sums) noexcept {
    __m512i ordered[8];
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) ordered[v] = load512(x + 64 * v);
    Format::order(ordered);
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) codes[v] = ordered[v];
    scales = _mm512_loadu_ps(x_scales);
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    const __m512i low = load512(x_sums);
    const __m512i high = load512(x_sums + 16);
    __m512i half[2] = {_mm512_permutex2var_epi32(low, even, high),
                       _mm512_permutex2var_epi32(low, odd, high)};
    if constexpr (!Format::kHalfScales) half[0] = _mm512_add_epi32(half[0], half[1]);
#pragma GCC unroll 2
    for (int h = 0; h < (Format::kHalfScales ? 2 : 1); ++h) {
      bias[h] = _mm512_mullo_epi32(half[h], _mm512_set1_epi32(Format::kBias));
      if constexpr (Format::kMins) sums[h] = _mm512_cvtepi32_ps(half[h]);
    }
  }
};

/// first[0] * second[0], with halves + first[1] * second[1].
template <typename Format>
LETHE_AVX512_INLINE __m512 products(const __m512* first, const __m512* second) noexcept {
  const __m512 product = _mm512_mul_ps(first[0], second[0]);
  if constexpr (!Format::kHalfScales) return product;
  return _mm512_add_ps(product, _mm512_mul_ps(first[1], second[1]));
}

/// The values of 16 groups of one row.
template <typename Format>
LETHE_AVX512_INLINE __m512 group_values(const WideStep& s,
                                        const StepActivations<Format>& x) noexcept {
  __m512i sums[2];
  __m512 scales[2];
  __m512 mins[2];
  Format::sums(s, x.codes, sums);
  Format::scales(s, scales, mins);
  __m512 wide[2];
#pragma GCC unroll 2
  for (int h = 0; h < (Format::kHalfScales ? 2 : 1); ++h) {
    if constexpr (Format::kBias != 0) sums[h] = _mm512_sub_epi32(sums[h], x.bias[h]);
    wide[h] = _mm512_cvtepi32_ps(sums[h]);
  }
  __m512 value = _mm512_mul_ps(products<Format>(scales, wide), x.scales);
  if constexpr (Format::kMins) {
    value = _mm512_sub_ps(value, _mm512_mul_ps(x.scales, products<Format>(mins, x.sums)));
  }
  return value;
}

/// Lane r of the result: sums + values[r][0] + values[r][1] + ..., in this order.
LETHE_AVX512_INLINE __m128 add_in_order(__m128 sums, const __m512* values) noexcept {
  const __m512 low01 = _mm512_unpacklo_ps(values[0], values[1]);
  const __m512 low23 = _mm512_unpacklo_ps(values[2], values[3]);
  const __m512 high01 = _mm512_unpackhi_ps(values[0], values[1]);
  const __m512 high23 = _mm512_unpackhi_ps(values[2], values[3]);
  // Lane l of turned[i]: group 4l + i of the 4 rows.
  const __m512 turned[4] = {
      _mm512_shuffle_ps(low01, low23, 0x44), _mm512_shuffle_ps(low01, low23, 0xEE),
      _mm512_shuffle_ps(high01, high23, 0x44), _mm512_shuffle_ps(high01, high23, 0xEE)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums = _mm_add_ps(sums, _mm512_castps512_ps128(turned[i]));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums = _mm_add_ps(sums, _mm512_extractf32x4_ps(turned[i], 1));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums = _mm_add_ps(sums, _mm512_extractf32x4_ps(turned[i], 2));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) sums = _mm_add_ps(sums, _mm512_extractf32x4_ps(turned[i], 3));
  return sums;
}

template <typename Format>
LETHE_AVX512_INLINE WideStep step_at(const WeightRow& row, int64_t step) noexcept {
  WideStep s{reinterpret_cast<const uint8_t*>(row.data) + 2 * Format::kStepBytes * step, nullptr,
             row.scales_f32};
  if constexpr (Format::kOwnScales) {
    s.scales = reinterpret_cast<const uint8_t*>(row.scales) +
               (row.scales_f32 ? 4 * kWideGroups : kWideGroups) * step;
  }
  return s;
}

/// The last, partial step of a row, with zeros after it: values of zero groups are no part of the
/// sum, for activations there are zeros with scale zero.
template <typename Format>
struct PaddedStep {
  alignas(64) uint8_t data[2 * Format::kStepBytes] = {};
  alignas(64) uint8_t scales[4 * kWideGroups] = {};
  bool scales_f32;

  PaddedStep(const WeightRow& row, int64_t step, int64_t groups) noexcept
      : scales_f32(row.scales_f32) {
    const WideStep s = step_at<Format>(row, step);
    __builtin_memcpy(data, s.data, static_cast<size_t>(Format::kStepBytes * groups / 8));
    if constexpr (Format::kOwnScales) {
      __builtin_memcpy(scales, s.scales, static_cast<size_t>(groups * (scales_f32 ? 4 : 1)));
    }
  }
  WideStep step() const noexcept { return {data, scales, scales_f32}; }
};

/// The activations of a chunk of steps; the last step of a row may be partial.
template <typename Format>
struct ChunkActivations {
  StepActivations<Format> steps[kChunk];

  ChunkActivations(const Activation& token, int64_t first, int64_t whole, int64_t rest) noexcept {
    for (int64_t s = 0; s < whole; ++s) {
      const int64_t step = first + s;
      steps[s].prepare(token.codes + kWideStep * step, token.scales + kWideGroups * step,
                       token.sums + 2 * kWideGroups * step);
    }
    if (rest == 0) return;
    alignas(64) int8_t codes[kWideStep] = {};
    alignas(64) float scales[kWideGroups] = {};
    alignas(64) int32_t sums[2 * kWideGroups] = {};
    const int64_t step = first + whole;
    __builtin_memcpy(codes, token.codes + kWideStep * step, static_cast<size_t>(kGroup * rest));
    __builtin_memcpy(scales, token.scales + kWideGroups * step, static_cast<size_t>(4 * rest));
    __builtin_memcpy(sums, token.sums + 2 * kWideGroups * step, static_cast<size_t>(8 * rest));
    steps[whole].prepare(codes, scales, sums);
  }
};

/// The values of a partial step; lanes past the row's end are -0, which leaves any sum as it is.
template <typename Format>
[[gnu::noinline]] void tail_values(const WeightRow& row, int64_t step, int64_t groups,
                                   const StepActivations<Format>& x, __m512* values) noexcept {
  const PaddedStep<Format> padded(row, step, groups);
  const auto present = static_cast<__mmask16>((1u << groups) - 1);
  *values =
      _mm512_mask_mov_ps(_mm512_set1_ps(-0.0F), present, group_values<Format>(padded.step(), x));
}

/// Asks for what lies kAhead of a step; past its row is the next, past the matrix it does no harm.
template <typename Format>
LETHE_AVX512_INLINE void prefetch(const WideStep& step) noexcept {
  constexpr int64_t kLine = 64;
#pragma GCC unroll 16
  for (int64_t byte = 0; byte < 2 * Format::kStepBytes; byte += kLine) {
    __builtin_prefetch(step.data + kAhead + byte);
  }
}

/// Steps [first, first + whole) of all rows, and a partial one of `rest` groups after them. Row by
/// row, as they lie in memory: the values of a few wait in the cache until they are added.
template <typename Format>
void add_chunk(const WeightRow* rows, int64_t num_rows, int64_t first, int64_t whole, int64_t rest,
               const Activation& token, float* out) noexcept {
  const ChunkActivations<Format> x(token, first, whole, rest);
  const int64_t steps = whole + (rest != 0 ? 1 : 0);
  __m512 values[kChunk][kRows];
  for (int64_t begin = 0; begin < num_rows; begin += kRows) {
    const int64_t count = num_rows - begin < kRows ? num_rows - begin : kRows;
    for (int64_t r = 0; r < count; ++r) {
      const WeightRow& row = rows[begin + r];
      for (int64_t s = 0; s < whole; ++s) {
        const WideStep step = step_at<Format>(row, first + s);
        if (ask_ahead) prefetch<Format>(step);
        values[s][r] = group_values<Format>(step, x.steps[s]);
      }
      if (rest != 0)
        tail_values<Format>(row, first + whole, rest, x.steps[whole], &values[whole][r]);
    }
    const auto present = static_cast<__mmask8>((1u << count) - 1);
    __m128 sums = _mm_maskz_loadu_ps(present, out + begin);
    for (int64_t s = 0; s < steps; ++s) sums = add_in_order(sums, values[s]);
    _mm_mask_storeu_ps(out + begin, present, sums);
  }
}

template <typename Format>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; ++r) out[r] = 0;
  const int64_t steps = n / kWideStep;
  const int64_t rest = (n - steps * kWideStep) / kGroup;
  for (int64_t first = 0; first * kWideGroups < n / kGroup; first += kChunk) {
    const int64_t left = steps - first;
    const bool last = left < kChunk;
    add_chunk<Format>(rows, num_rows, first, last ? left : kChunk, last ? rest : 0, token, out);
  }
}

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  table.rows_dot[static_cast<size_t>(encoding)] = rows_dot<Format>;
}

}  // namespace

void install_avx512_int8_rows(KernelTable& table, bool narrow_streams) noexcept {
  ask_ahead = !narrow_streams;
  set<HotFp4Row>(table, Encoding::Fp4Row);
  set<HotQ8_0>(table, Encoding::Q8_0);
  set<Widened<Q4_0>>(table, Encoding::Q4_0);
  set<Widened<Q4_1>>(table, Encoding::Q4_1);
  set<Widened<Q5_0>>(table, Encoding::Q5_0);
  set<Widened<Q5_1>>(table, Encoding::Q5_1);
  set<HotMXFP4>(table, Encoding::MXFP4);
  set<Widened<NVFP4>>(table, Encoding::NVFP4);
  set<Widened<IQ4_NL>>(table, Encoding::IQ4_NL);
  set<HotQ2_K>(table, Encoding::Q2_K);
  set<Widened<Q3_K>>(table, Encoding::Q3_K);
  set<HotQ4_K>(table, Encoding::Q4_K);
  set<Widened<Q5_K>>(table, Encoding::Q5_K);
  set<HotQ6_K>(table, Encoding::Q6_K);
  set<Widened<IQ1_S>>(table, Encoding::IQ1_S);
  set<Widened<IQ1_M>>(table, Encoding::IQ1_M);
  set<HotIQ2_XXS>(table, Encoding::IQ2_XXS);
  set<Widened<IQ2_XS>>(table, Encoding::IQ2_XS);
  set<Widened<IQ2_S>>(table, Encoding::IQ2_S);
  set<Widened<IQ3_XXS>>(table, Encoding::IQ3_XXS);
  set<Widened<IQ3_S>>(table, Encoding::IQ3_S);
  set<Widened<IQ4_XS>>(table, Encoding::IQ4_XS);
}

}  // namespace lethe::kernels
