#pragma once

#include "kernels/avx2_steps.h"
#include "kernels/kernel_table.h"

// Row dots in integers with 256-bit vectors, written once for the sets that have them; only for
// translation units with wide flags. 8 groups of 32 are a step: one vector lane per group from the
// sums of code products on. The values of groups are added in row order (kernels/row_dot.h): for
// one token and row one after the other, else with a lane for each of 8 tokens, or of 8 rows, so
// the bits are the scalar set's.
//
// Products has of<kUnsigned>(w, x): the products of a group's 32 codes, added in fours. Activation
// codes are within +-127; weight codes any, or 0 .. 127 with kUnsigned.

namespace lethe::kernels {
namespace {

constexpr int64_t kTokenTile = 8;  // tokens that share one unpacked step

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

template <typename Format, typename Products>
LETHE_AVX2_INLINE __m256 step_values(const __m256i* codes, const StepScales& w,
                                     const StepActivations& x) noexcept {
  __m256i v[kGroups];
#pragma GCC unroll 8
  for (int g = 0; g < kGroups; ++g) {
    v[g] = Products::template of<Format::kUnsigned>(codes[g], load256(x.codes + kGroup * g));
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

struct PaddedActivations {
  alignas(32) int8_t codes[kStep] = {};
  alignas(32) float scales[kGroups] = {};
  alignas(32) int32_t sums[2 * kGroups] = {};

  PaddedActivations() = default;
  PaddedActivations(const Activation& token, int64_t step, int64_t groups) noexcept {
    const StepActivations x = activations_at(token, step);
    __builtin_memcpy(codes, x.codes, static_cast<size_t>(kGroup * groups));
    __builtin_memcpy(scales, x.scales, static_cast<size_t>(groups) * sizeof(float));
    __builtin_memcpy(sums, x.sums, static_cast<size_t>(2 * groups) * sizeof(int32_t));
  }
  StepActivations view() const noexcept { return {codes, scales, sums}; }
};

/// The weights of a step, ready for any number of tokens.
template <typename Format, typename Products>
struct Weights {
  __m256i codes[kGroups];
  StepScales scales;
  LETHE_AVX2_INLINE explicit Weights(const Step& s) noexcept {
    unpack<Format>(s, codes);
    Format::scales(s, scales);
  }
  LETHE_AVX2_INLINE __m256 values(const StepActivations& x) const noexcept {
    return step_values<Format, Products>(codes, scales, x);
  }
};

/// The values of the last, partial step of a row: those of its padding are +0.
template <typename Format, typename Products>
[[gnu::noinline]] __m256 tail_values(const WeightRow& row, int64_t step, int64_t groups,
                                     const Activation& token) noexcept {
  const PaddedStep<Format> padded(row, step, groups);
  const PaddedActivations x(token, step, groups);
  return Weights<Format, Products>(padded.step()).values(x.view());
}

template <typename Format, typename Products>
float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  const int64_t steps = n / kStep;
  float sum = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const Weights<Format, Products> weights(step_at<Format>(row, step));
    sum = add_in_order(sum, weights.values(activations_at(token, step)));
  }
  if (has_tail<Format>(n)) {
    const int64_t groups = (n - steps * kStep) / kGroup;
    sum = add_in_order(sum, tail_values<Format, Products>(row, steps, groups, token));
  }
  return sum;
}

/// Up to kTokenTile tokens.
template <typename Format, typename Products>
void dot_tile(const WeightRow& row, int64_t n, const Activation* tokens, int64_t count,
              float* out) noexcept {
  const int64_t steps = n / kStep;
  __m256 sums = _mm256_setzero_ps();
  __m256 values[kTokenTile];
  for (auto& v : values) v = _mm256_setzero_ps();
  for (int64_t step = 0; step < steps; ++step) {
    const Weights<Format, Products> weights(step_at<Format>(row, step));
    for (int64_t t = 0; t < count; ++t) {
      values[t] = weights.values(activations_at(tokens[t], step));
    }
    sums = add_in_order(sums, values);
  }
  if (has_tail<Format>(n)) {
    const int64_t groups = (n - steps * kStep) / kGroup;
    const PaddedStep<Format> padded(row, steps, groups);
    const Weights<Format, Products> weights(padded.step());
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

template <typename Format, typename Products>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t first = 0; first < num_tokens; first += kTokenTile) {
    const int64_t rest = num_tokens - first;
    if (rest == 1) {
      out[first] = dot_one<Format, Products>(row, n, tokens[first]);
    } else {
      dot_tile<Format, Products>(row, n, tokens + first, rest < kTokenTile ? rest : kTokenTile,
                                 out + first);
    }
  }
}

// --- several rows, one token

constexpr int64_t kRowsTogether = 8;  // rows whose values are added with a lane for each
constexpr int64_t kChunk = 32;        // steps whose values wait in the cache
constexpr int64_t kAhead = 1024;      // bytes of a row that are asked for before they are read

/// Steps of a token, whose activations are read as they are.
template <typename Format, typename Products>
class PlainSteps {
 public:
  /// Steps first .. first + whole - 1, and one of `rest` groups after them.
  PlainSteps(const Activation& token, int64_t first, int64_t whole, int64_t rest) noexcept
      : token_(token), first_(first), whole_(whole) {
    if (rest != 0) padded_ = PaddedActivations(token, first + whole, rest);
  }
  /// Values of step `i`, of which s is the row's.
  LETHE_AVX2_INLINE __m256 values(const Step& s, int64_t i) const noexcept {
    const Weights<Format, Products> weights(s);
    return weights.values(i < whole_ ? activations_at(token_, first_ + i) : padded_.view());
  }

 private:
  const Activation& token_;
  int64_t first_;
  int64_t whole_;
  PaddedActivations padded_;
};

/// Values of steps of kRowsTogether rows.
using ChunkValues = __m256[kChunk][kRowsTogether];

template <typename Format, typename Steps>
LETHE_AVX2_INLINE __m256 values_at(const WeightRow& row, int64_t first, int64_t i,
                                   const Steps& x) noexcept {
  const Step s = step_at<Format>(row, first + i);
#pragma GCC unroll 8
  for (int64_t at = 0; at < Format::kStepBytes; at += 64) __builtin_prefetch(s.data + at + kAhead);
  return x.values(s, i);
}

/// Values of kStreams rows, `apart` rows from each other, to place r. In step, so that memory is
/// read in so many places at once.
template <typename Format, int kStreams, typename Steps>
LETHE_AVX2_INLINE void row_values(const WeightRow* rows, int64_t apart, int64_t first,
                                  int64_t whole, int64_t rest, const Steps& x, ChunkValues* values,
                                  int64_t r) noexcept {
  for (int64_t i = 0; i < whole; ++i) {
#pragma GCC unroll 2
    for (int k = 0; k < kStreams; ++k) {
      values[k][i][r] = values_at<Format>(rows[k * apart], first, i, x);
    }
  }
  if (rest != 0) {
    for (int k = 0; k < kStreams; ++k) {
      const PaddedStep<Format> padded(rows[k * apart], first + whole, rest);
      values[k][whole][r] = x.values(padded.step(), whole);
    }
  }
}

/// Adds values in row order to the sums of `count` rows.
LETHE_AVX2_INLINE void add_values(const ChunkValues& values, int64_t steps, int64_t count,
                                  float* out) noexcept {
  alignas(32) float sums[kRowsTogether] = {};
  __builtin_memcpy(sums, out, static_cast<size_t>(count) * sizeof(float));
  __m256 all = _mm256_load_ps(sums);
  for (int64_t s = 0; s < steps; ++s) all = add_in_order(all, values[s]);
  _mm256_store_ps(sums, all);
  __builtin_memcpy(out, sums, static_cast<size_t>(count) * sizeof(float));
}

/// Steps [first, first + whole) of all rows, and a partial one of `rest` groups after them. Rows of
/// the first half and of the second go in step, each half as it lies in memory.
template <typename Format, typename Steps>
void add_chunk(const WeightRow* rows, int64_t num_rows, int64_t first, int64_t whole, int64_t rest,
               const Activation& token, float* out) noexcept {
  const Steps x(token, first, whole, rest);
  const int64_t steps = whole + (rest != 0 ? 1 : 0);
  ChunkValues values[2];
  const int64_t half = num_rows / (2 * kRowsTogether) * kRowsTogether;
  for (int64_t begin = 0; begin < half; begin += kRowsTogether) {
    for (int64_t r = 0; r < kRowsTogether; ++r) {
      row_values<Format, 2>(rows + begin + r, half, first, whole, rest, x, values, r);
    }
    add_values(values[0], steps, kRowsTogether, out + begin);
    add_values(values[1], steps, kRowsTogether, out + half + begin);
  }
  for (int64_t begin = 2 * half; begin < num_rows; begin += kRowsTogether) {
    const int64_t left = num_rows - begin;
    const int64_t count = left < kRowsTogether ? left : kRowsTogether;
    if (count < kRowsTogether) __builtin_memset(values[0], 0, sizeof(values[0]));
    for (int64_t r = 0; r < count; ++r) {
      row_values<Format, 1>(rows + begin + r, 0, first, whole, rest, x, values, r);
    }
    add_values(values[0], steps, count, out + begin);
  }
}

template <typename Format, typename Steps>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; ++r) out[r] = 0;
  const int64_t steps = n / kStep;
  const int64_t rest = has_tail<Format>(n) ? (n - steps * kStep) / kGroup : 0;
  for (int64_t first = 0; first < steps + (rest != 0 ? 1 : 0); first += kChunk) {
    const int64_t left = steps - first;
    const bool last = left < kChunk;
    add_chunk<Format, Steps>(rows, num_rows, first, last ? left : kChunk, last ? rest : 0, token,
                             out);
  }
}

}  // namespace
}  // namespace lethe::kernels
