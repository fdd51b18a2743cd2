#include "kernels/neon.h"
#include "kernels/neon_int8_steps.h"

// Several rows with one token, in integers: `sdot` multiplies codes in fours, and from the sums of
// a group on there is a vector lane for each of 4 groups. The values of some steps of 4 rows are
// kept, each row's in turn, so that memory is read as it lies; then they are turned and added with
// a lane for each row, in row order (kernels/row_dot.h).

namespace lethe::kernels {

namespace {

constexpr int64_t kRows = 4;    // whose sums share a vector
constexpr int64_t kChunk = 16;  // steps whose values are kept
constexpr int64_t kChunkGroups = kChunk * kGroups;

/// A token's activations of one step.
struct StepActivations {
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
};

LETHE_NEON_INLINE StepActivations activations_at(const Activation& token, int64_t step) noexcept {
  return {token.codes + kStep * step, token.scales + kGroups * step,
          token.sums + 2 * kGroups * step};
}

struct PaddedActivations {
  int8_t codes[kStep] = {};
  float scales[kGroups] = {};
  int32_t sums[2 * kGroups] = {};

  PaddedActivations(const Activation& token, int64_t step, int64_t groups) noexcept {
    const StepActivations x = activations_at(token, step);
    __builtin_memcpy(codes, x.codes, static_cast<size_t>(kGroup * groups));
    __builtin_memcpy(scales, x.scales, static_cast<size_t>(groups) * sizeof(float));
    __builtin_memcpy(sums, x.sums, static_cast<size_t>(2 * groups) * sizeof(int32_t));
  }
  StepActivations view() const noexcept { return {codes, scales, sums}; }
};

/// Sums of 4 vectors, one to a lane.
LETHE_NEON_INLINE int32x4_t sum_each(const int32x4_t* v) noexcept {
  return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/// Sums of code products of groups 2p and 2p + 1, 4 lanes each; [1] of the second half.
template <typename Format, int p>
LETHE_NEON_INLINE void pair_products(const Step& s, const int8_t* x,
                                     int32x4_t (*sums)[kGroups]) noexcept {
  int8x16_t w[4];
  Format::template pair<p>(s, w);
  x += 2 * kGroup * p;
#pragma GCC unroll 2
  for (int g = 0; g < 2; ++g) {
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4_t first = vdotq_s32(zero, w[2 * g], vld1q_s8(x + kGroup * g));
    const int32x4_t start = Format::kHalfScales ? zero : first;
    const int32x4_t second = vdotq_s32(start, w[2 * g + 1], vld1q_s8(x + kGroup * g + 16));
    sums[0][2 * p + g] = Format::kHalfScales ? first : second;
    if constexpr (Format::kHalfScales) sums[1][2 * p + g] = second;
  }
}

/// scales[0] * sums[0], with halves + scales[1] * sums[1], of groups 4q .. 4q + 3.
template <typename Format>
LETHE_NEON_INLINE float32x4_t products(const Eight* scales, int q, int32x4_t first,
                                       int32x4_t second) noexcept {
  const float32x4_t product = vmulq_f32(scales[0].v[q], vcvtq_f32_s32(first));
  if constexpr (!Format::kHalfScales) return product;
  return add_product(product, scales[1].v[q], vcvtq_f32_s32(second));
}

/// The values of 8 groups.
template <typename Format>
LETHE_NEON_INLINE void step_values(const Step& s, const StepActivations& x, float* out) noexcept {
  int32x4_t sums[2][kGroups];
  pair_products<Format, 0>(s, x.codes, sums);
  pair_products<Format, 1>(s, x.codes, sums);
  pair_products<Format, 2>(s, x.codes, sums);
  pair_products<Format, 3>(s, x.codes, sums);
  StepScales w;
  Format::scales(s, w);
#pragma GCC unroll 2
  for (int q = 0; q < 2; ++q) {
    const float32x4_t scale = vld1q_f32(x.scales + 4 * q);
    const int32x4_t second = Format::kHalfScales ? sum_each(sums[1] + 4 * q) : vdupq_n_s32(0);
    float32x4_t value = products<Format>(w.scales, q, sum_each(sums[0] + 4 * q), second);
    value = vmulq_f32(value, scale);
    if constexpr (Format::kMins) {
      const int32x4_t low = vld1q_s32(x.sums + 8 * q);
      const int32x4_t high = vld1q_s32(x.sums + 8 * q + 4);
      const float32x4_t mins =
          Format::kHalfScales
              ? products<Format>(w.mins, q, vuzp1q_s32(low, high), vuzp2q_s32(low, high))
              : products<Format>(w.mins, q, vpaddq_s32(low, high), second);
      value = vsubq_f32(value, vmulq_f32(scale, mins));
    }
    vst1q_f32(out + 4 * q, value);
  }
}

/// The values of up to kChunk steps of a row; `groups` of a padded one after them, if not 0.
template <typename Format>
LETHE_NEON_INLINE void chunk_values(const WeightRow& row, const Activation& token, int64_t step,
                                    int64_t count, int64_t groups, float* out) noexcept {
  for (int64_t i = 0; i < count; ++i) {
    step_values<Format>(step_at<Format>(row, step + i), activations_at(token, step + i),
                        out + kGroups * i);
  }
  if (!Format::kWhole && groups != 0) {
    const PaddedStep<Format> padded(row, step + count, groups);
    const PaddedActivations x(token, step + count, groups);
    step_values<Format>(padded.step(), x.view(), out + kGroups * count);
  }
}

/// Up to kRows rows.
template <typename Format>
void dot_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  const int64_t steps = n / kStep;
  const int64_t tail = tail_groups<Format>(n);
  float values[kRows][kChunkGroups];
  if (num_rows < kRows) __builtin_memset(values, 0, sizeof(values));
  float32x4_t sums = vdupq_n_f32(0);
  for (int64_t step = 0; step < steps || (step == steps && tail != 0);) {
    const int64_t count = steps - step < kChunk ? steps - step : kChunk;
    const int64_t groups = count < kChunk ? tail : 0;
    for (int64_t r = 0; r < num_rows; ++r) {
      chunk_values<Format>(rows[r], token, step, count, groups, values[r]);
    }
    const int64_t end = kGroups * count + (groups != 0 ? kGroups : 0);
    for (int64_t g = 0; g < end; g += 4) {
      const float32x4_t of_rows[kRows] = {vld1q_f32(values[0] + g), vld1q_f32(values[1] + g),
                                          vld1q_f32(values[2] + g), vld1q_f32(values[3] + g)};
      float32x4_t of_groups[4];
      turn(of_rows, of_groups);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) sums = vaddq_f32(sums, of_groups[i]);
    }
    step += count + (groups != 0 ? 1 : 0);
  }
  float all[kRows];
  vst1q_f32(all, sums);
  for (int64_t r = 0; r < num_rows; ++r) out[r] = all[r];
}

template <typename Format>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; r += kRows) {
    const int64_t rest = num_rows - r;
    dot_rows<Format>(rows + r, rest < kRows ? rest : kRows, n, token, out + r);
  }
}

template <typename Format>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t t = 0; t < num_tokens; ++t) dot_rows<Format>(&row, 1, n, tokens[t], out + t);
}

struct Rows {
  template <typename Format>
  static void install(KernelTable& table, quant::Encoding encoding) noexcept {
    table.row_dot[static_cast<size_t>(encoding)] = row_dot<Format>;
    table.rows_dot[static_cast<size_t>(encoding)] = rows_dot<Format>;
  }
};

}  // namespace

void install_neon_int8_rows(KernelTable& table) noexcept {
  for_all_formats<Rows>(table);
}

}  // namespace lethe::kernels
