#include "kernels/avx2.h"
#include "kernels/avx2_codebook_formats.h"

// Row dots in integers, 8 groups of 32 at a time: one vector lane per group from the sums of code
// products on. The values of groups are added in row order (kernels/row_dot.h): for one token one
// after the other, for 8 tokens with a lane for each, so the bits are the scalar set's.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kGroup = 32;
constexpr int kGroups = 8;               // of a step
constexpr int kStep = kGroup * kGroups;  // elements
constexpr int64_t kTokenTile = 8;        // tokens that share one unpacked step

/// A token's activations of one step.
struct StepActivations {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
};

LETHE_AVX2_INLINE StepActivations activations_at(const Activation& token, int64_t step) noexcept {
  return {token.codes + kStep * step, token.scales + kGroups * step,
          token.sums + 2 * kGroups * step};
}

/// Products of a group's codes, added in fours. Activation codes are within +-127, so that two
/// products fit 16 bits for any weight code, -128 included.
template <bool kUnsigned>
LETHE_AVX2_INLINE __m256i products(__m256i w, __m256i x) noexcept {
  const __m256i pairs = kUnsigned
                            ? _mm256_maddubs_epi16(w, x)
                            : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

LETHE_AVX2_INLINE __m256i add_neighbours32(__m256i a, __m256i b) noexcept {
  return _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
}
LETHE_AVX2_INLINE __m256i add_neighbours64(__m256i a, __m256i b) noexcept {
  return _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
/// Sums of the 128-bit halves of 4 vectors: lanes 0..3 first halves, 4..7 second halves.
LETHE_AVX2_INLINE __m256i sum_halves(const __m256i* v) noexcept {
  return add_neighbours64(add_neighbours32(v[0], v[1]), add_neighbours32(v[2], v[3]));
}

LETHE_AVX2_INLINE __m256 to_f32(__m256i v) noexcept {
  return _mm256_cvtepi32_ps(v);
}
LETHE_AVX2_INLINE __m256 two_products(__m256 a, __m256i x, __m256 b, __m256i y) noexcept {
  return _mm256_add_ps(_mm256_mul_ps(a, to_f32(x)), _mm256_mul_ps(b, to_f32(y)));
}

/// What the minima take from each group: mins times sums of activation codes.
template <typename Format>
LETHE_AVX2_INLINE __m256 group_mins(const StepScales& w, const int32_t* sums) noexcept {
  const __m256 first = _mm256_castsi256_ps(load256(sums));
  const __m256 second = _mm256_castsi256_ps(load256(sums + 8));
  const __m256i even =
      _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88)), 0xD8);
  const __m256i odd =
      _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xDD)), 0xD8);
  if constexpr (Format::kHalfScales) return two_products(w.mins[0], even, w.mins[1], odd);
  return _mm256_mul_ps(w.mins[0], to_f32(_mm256_add_epi32(even, odd)));
}

/// The values of 8 groups from their products.
template <typename Format>
LETHE_AVX2_INLINE __m256 group_values(const __m256i* v, const StepScales& w,
                                      const StepActivations& x) noexcept {
  const __m256i low = sum_halves(v);
  const __m256i high = sum_halves(v + 4);
  const __m256i first = _mm256_permute2x128_si256(low, high, 0x20);
  const __m256i second = _mm256_permute2x128_si256(low, high, 0x31);
  const __m256 scale = _mm256_loadu_ps(x.scales);
  __m256 value;
  if constexpr (Format::kHalfScales) {
    value = two_products(w.scales[0], first, w.scales[1], second);
  } else {
    value = _mm256_mul_ps(w.scales[0], to_f32(_mm256_add_epi32(first, second)));
  }
  value = _mm256_mul_ps(value, scale);
  if constexpr (Format::kMins) {
    value = _mm256_sub_ps(value, _mm256_mul_ps(scale, group_mins<Format>(w, x.sums)));
  }
  return value;
}

template <typename Format>
LETHE_AVX2_INLINE void unpack(const Step& s, __m256i* codes) noexcept {
  Format::template pair<0>(s, codes[0], codes[1]);
  Format::template pair<1>(s, codes[2], codes[3]);
  Format::template pair<2>(s, codes[4], codes[5]);
  Format::template pair<3>(s, codes[6], codes[7]);
}

template <typename Format>
LETHE_AVX2_INLINE __m256 step_values(const __m256i* codes, const StepScales& w,
                                     const StepActivations& x) noexcept {
  __m256i v[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    v[g] = products<Format::kUnsigned>(codes[g], load256(x.codes + kGroup * g));
  }
  return group_values<Format>(v, w, x);
}

/// sum + values[0] + values[1] + ..., in this order.
LETHE_AVX2_INLINE float add_in_order(float sum, __m256 values) noexcept {
  __m128 total = _mm_set_ss(sum);
  __m128 four = _mm256_castps256_ps128(values);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    total = _mm_add_ss(total, four);
    total = _mm_add_ss(total, _mm_movehdup_ps(four));
    total = _mm_add_ss(total, _mm_movehl_ps(four, four));
    total = _mm_add_ss(total, _mm_shuffle_ps(four, four, 0xFF));
    four = _mm256_extractf128_ps(values, 1);
  }
  return _mm_cvtss_f32(total);
}

/// The same for 8 tokens: lane t of sums + values[t][0] + values[t][1] + ...
LETHE_AVX2_INLINE __m256 add_in_order(__m256 sums, const __m256* values) noexcept {
  // Fours of tokens, transposed within each half: group[j] has group j of tokens 0..3, then group
  // j + 4 of the same; and so for tokens 4..7.
  __m256 group[2][4];
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256* v = values + 4 * i;
    const __m256 low01 = _mm256_unpacklo_ps(v[0], v[1]);
    const __m256 low23 = _mm256_unpacklo_ps(v[2], v[3]);
    const __m256 high01 = _mm256_unpackhi_ps(v[0], v[1]);
    const __m256 high23 = _mm256_unpackhi_ps(v[2], v[3]);
    group[i][0] = _mm256_shuffle_ps(low01, low23, 0x44);
    group[i][1] = _mm256_shuffle_ps(low01, low23, 0xEE);
    group[i][2] = _mm256_shuffle_ps(high01, high23, 0x44);
    group[i][3] = _mm256_shuffle_ps(high01, high23, 0xEE);
  }
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    sums = _mm256_add_ps(sums, _mm256_permute2f128_ps(group[0][g], group[1][g], 0x20));
  }
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    sums = _mm256_add_ps(sums, _mm256_permute2f128_ps(group[0][g], group[1][g], 0x31));
  }
  return sums;
}

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

/// The last, partial step of a row, with zeros after it: zero codes add nothing to a lane.
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

struct PaddedActivations {
  alignas(32) int8_t codes[kStep] = {};
  alignas(32) float scales[kGroups] = {};
  alignas(32) int32_t sums[2 * kGroups] = {};

  PaddedActivations(const Activation& token, int64_t step, int64_t groups) noexcept {
    const StepActivations x = activations_at(token, step);
    __builtin_memcpy(codes, x.codes, static_cast<size_t>(kGroup * groups));
    __builtin_memcpy(scales, x.scales, static_cast<size_t>(groups) * sizeof(float));
    __builtin_memcpy(sums, x.sums, static_cast<size_t>(2 * groups) * sizeof(int32_t));
  }
  StepActivations view() const noexcept { return {codes, scales, sums}; }
};

/// The weights of a step, ready for any number of tokens.
template <typename Format>
struct Weights {
  __m256i codes[kGroups];
  StepScales scales;
  LETHE_AVX2_INLINE explicit Weights(const Step& s) noexcept {
    unpack<Format>(s, codes);
    Format::scales(s, scales);
  }
  LETHE_AVX2_INLINE __m256 values(const StepActivations& x) const noexcept {
    return step_values<Format>(codes, scales, x);
  }
};

template <typename Format>
constexpr bool has_tail(int64_t n) noexcept {
  return !Format::kWhole && n % kStep != 0;
}

template <typename Format>
float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  const int64_t steps = n / kStep;
  float sum = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const Weights<Format> weights(step_at<Format>(row, step));
    sum = add_in_order(sum, weights.values(activations_at(token, step)));
  }
  if (has_tail<Format>(n)) {
    const int64_t groups = (n - steps * kStep) / kGroup;
    const PaddedStep<Format> padded(row, steps, groups);
    const PaddedActivations x(token, steps, groups);
    sum = add_in_order(sum, Weights<Format>(padded.step()).values(x.view()));
  }
  return sum;
}

/// Up to kTokenTile tokens.
template <typename Format>
void dot_tile(const WeightRow& row, int64_t n, const Activation* tokens, int64_t count,
              float* out) noexcept {
  const int64_t steps = n / kStep;
  __m256 sums = _mm256_setzero_ps();
  __m256 values[kTokenTile];
  for (auto& v : values) v = _mm256_setzero_ps();
  for (int64_t step = 0; step < steps; ++step) {
    const Weights<Format> weights(step_at<Format>(row, step));
    for (int64_t t = 0; t < count; ++t) {
      values[t] = weights.values(activations_at(tokens[t], step));
    }
    sums = add_in_order(sums, values);
  }
  if (has_tail<Format>(n)) {
    const int64_t groups = (n - steps * kStep) / kGroup;
    const PaddedStep<Format> padded(row, steps, groups);
    const Weights<Format> weights(padded.step());
    for (int64_t t = 0; t < count; ++t) {
      const PaddedActivations x(tokens[t], steps, groups);
      values[t] = weights.values(x.view());
    }
    sums = add_in_order(sums, values);
  }
  alignas(32) float all[kTokenTile];
  _mm256_store_ps(all, sums);
  for (int64_t t = 0; t < count; ++t) out[t] = all[t];
}

template <typename Format>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t first = 0; first < num_tokens; first += kTokenTile) {
    const int64_t rest = num_tokens - first;
    if (rest == 1) {
      out[first] = dot_one<Format>(row, n, tokens[first]);
    } else {
      dot_tile<Format>(row, n, tokens + first, rest < kTokenTile ? rest : kTokenTile, out + first);
    }
  }
}

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  table.row_dot[static_cast<size_t>(encoding)] = row_dot<Format>;
}

}  // namespace

void install_avx2_int8_row_dots(KernelTable& table) noexcept {
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
