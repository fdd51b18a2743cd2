#include "kernels/neon.h"
#include "kernels/neon_decoders.h"
#include "kernels/scalar.h"

// Row dots whose weights become f32. The 16 lanes of a sum are 4 vectors; each lane adds the
// products that the scalar set adds, in its order, unfused.

namespace lethe::kernels {

namespace {

using quant::Encoding;

struct F32Activations {
  using Element = float;
  static const float* of(const Activation& token) noexcept { return token.f32; }
  LETHE_NEON_INLINE static void widen(const float* x, float32x4_t* out) noexcept {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) out[v] = vld1q_f32(x + 4 * v);
  }
};

struct Bf16Activations {
  using Element = uint16_t;
  static const uint16_t* of(const Activation& token) noexcept { return token.bf16; }
  LETHE_NEON_INLINE static void widen(const uint16_t* x, float32x4_t* out) noexcept {
    widen_bf16(x, out);
  }
};

/// lanes += products of 16 elements.
template <typename Activations>
LETHE_NEON_INLINE void add_piece(const float32x4_t* w, const typename Activations::Element* x,
                                 float32x4_t* lanes) noexcept {
  float32x4_t wide[4];
  Activations::widen(x, wide);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) lanes[v] = add_product(lanes[v], wide[v], w[v]);
}

/// Of kTokens tokens, whose sums stay in registers. Returns the cursor behind the last element.
template <typename Cursor, typename Activations, int kTokens>
LETHE_NEON_INLINE Cursor dot_tokens(const WeightRow& row, int64_t n, const Activation* tokens,
                                    float* out) noexcept {
  using Element = typename Activations::Element;
  Cursor cursor(row);
  float32x4_t lanes[kTokens][4];
  const Element* x[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    x[t] = Activations::of(tokens[t]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) lanes[t][v] = vdupq_n_f32(0);
  }
  float32x4_t w[4];
  int64_t i = 0;
  for (; i + kPiece <= n; i += kPiece) {
    cursor.next(w);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) add_piece<Activations>(w, x[t] + i, lanes[t]);
  }
  if (i < n) {
    const PaddedWeights<Cursor> rest(cursor.p, n - i);
    cursor.p = rest.data;
    cursor.next(w);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      Element padded[kPiece] = {};
      __builtin_memcpy(padded, x[t] + i, static_cast<size_t>(n - i) * sizeof(Element));
      add_piece<Activations>(w, padded, lanes[t]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) out[t] = sum_lanes(lanes[t]);
  return cursor;
}

template <typename Cursor, typename Activations>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  int64_t t = 0;
  for (; t + 4 <= num_tokens; t += 4) {
    dot_tokens<Cursor, Activations, 4>(row, n, tokens + t, out + t);
  }
  for (; t < num_tokens; ++t) dot_tokens<Cursor, Activations, 1>(row, n, tokens + t, out + t);
}

/// Rows with a NaN, and tiles of other widths than the formats have (tests make them), go to the
/// scalar set.
void fp8_row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
                 float* out) noexcept {
  bool plain = row.scale_block % kPiece == 0;
  int64_t t = 0;
  for (; plain && t + 4 <= num_tokens; t += 4) {
    plain = !dot_tokens<Fp8Cursor, Bf16Activations, 4>(row, n, tokens + t, out + t).has_nan();
  }
  for (; plain && t < num_tokens; ++t) {
    plain = !dot_tokens<Fp8Cursor, Bf16Activations, 1>(row, n, tokens + t, out + t).has_nan();
  }
  if (!plain) scalar_fp8_row_dot(row, n, tokens, num_tokens, out);
}

}  // namespace

void install_neon_wide_row_dots(KernelTable& table) noexcept {
  table.row_dot[static_cast<size_t>(Encoding::F32)] = row_dot<F32Cursor, F32Activations>;
  table.row_dot[static_cast<size_t>(Encoding::F16)] = row_dot<F16Cursor, Bf16Activations>;
  table.row_dot[static_cast<size_t>(Encoding::BF16)] = row_dot<Bf16Cursor, Bf16Activations>;
  table.row_dot[static_cast<size_t>(Encoding::Fp8Block)] = fp8_row_dot;
  table.row_dot[static_cast<size_t>(Encoding::Fp8Row)] = fp8_row_dot;
}

}  // namespace lethe::kernels
