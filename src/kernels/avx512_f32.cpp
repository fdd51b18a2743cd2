#include "kernels/avx512.h"
#include "kernels/avx512_e4m3.h"
#include "kernels/avx512_f32_step.h"

// f32: plain dots, rows added to rows, row dots and tiles. Sums as in the scalar set: 16 lanes, a
// vector here, with separate multiplications and additions.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int64_t kPiece = 16;  // elements of a vector
constexpr int kTogether = 4;    // rows, and tokens, of a step of a tile

LETHE_AVX512_INLINE __mmask16 first_lanes(int64_t count) noexcept {
  return static_cast<__mmask16>((1u << count) - 1);
}
LETHE_AVX512_INLINE __m256i bits_at(const void* bf16) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bf16));
}
LETHE_AVX512_INLINE __m512 widen_bf16(__m256i bits) noexcept {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
/// Dots of kCount vectors of numbers with one; lanes past the end add +0.
template <int kCount>
LETHE_AVX512_INLINE void dots(const float* const* a, const float* b, int64_t n,
                              float* out) noexcept {
  __m512 sums[kCount];
#pragma GCC unroll 4
  for (int k = 0; k < kCount; ++k) sums[k] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + kPiece <= n; i += kPiece) {
    const __m512 v = _mm512_loadu_ps(b + i);
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) sums[k] = add_product(sums[k], _mm512_loadu_ps(a[k] + i), v);
  }
  if (i < n) {
    const __mmask16 rest = first_lanes(n - i);
    const __m512 v = _mm512_maskz_loadu_ps(rest, b + i);
#pragma GCC unroll 4
    for (int k = 0; k < kCount; ++k) {
      sums[k] = add_product(sums[k], _mm512_maskz_loadu_ps(rest, a[k] + i), v);
    }
  }
  for (int k = 0; k < kCount; ++k) out[k] = sum_lanes(sums[k]);
}

float dot_f32(const float* a, const float* b, int64_t n) noexcept {
  float out;
  dots<1>(&a, b, n, &out);
  return out;
}

void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  const auto* w = reinterpret_cast<const float*>(row.data);
  int64_t t = 0;
  for (; t + kTogether <= num_tokens; t += kTogether) {
    const float* x[kTogether];
    for (int k = 0; k < kTogether; ++k) x[k] = tokens[t + k].f32;
    dots<kTogether>(x, w, n, out + t);
  }
  for (; t < num_tokens; ++t) dots<1>(&tokens[t].f32, w, n, out + t);
}

/// Row by row, as they lie in memory.
void bf16_rows_with_f32(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                        float* out) noexcept {
  constexpr int64_t kAhead = 2048;  // bytes that are asked for before they are read
  for (int64_t r = 0; r < num_rows; ++r) {
    const std::byte* w = rows[r].data;
    __m512 sums = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 2 * kPiece <= n; i += 2 * kPiece, w += 4 * kPiece) {
      __builtin_prefetch(w + kAhead);
      sums = add_product(sums, widen_bf16(bits_at(w)), _mm512_loadu_ps(token.f32 + i));
      sums = add_product(sums, widen_bf16(bits_at(w + 2 * kPiece)),
                         _mm512_loadu_ps(token.f32 + i + kPiece));
    }
    for (; i < n; i += kPiece, w += 2 * kPiece) {
      const __mmask16 rest = first_lanes(n - i < kPiece ? n - i : kPiece);
      sums = add_product(sums, widen_bf16(_mm256_maskz_loadu_epi16(rest, w)),
                         _mm512_maskz_loadu_ps(rest, token.f32 + i));
    }
    out[r] = sum_lanes(sums);
  }
}

void fma_row_f32(float* acc, const float* x, float s, int64_t n) noexcept {
  const __m512 factor = _mm512_set1_ps(s);
  int64_t i = 0;
  for (; i + kPiece <= n; i += kPiece) {
    _mm512_storeu_ps(acc + i,
                     add_product(_mm512_loadu_ps(acc + i), factor, _mm512_loadu_ps(x + i)));
  }
  if (i < n) {
    const __mmask16 rest = first_lanes(n - i);
    const __m512 sum = add_product(_mm512_maskz_loadu_ps(rest, acc + i), factor,
                                   _mm512_maskz_loadu_ps(rest, x + i));
    _mm512_mask_storeu_ps(acc + i, rest, sum);
  }
}

/// kVectors * 16 columns of fma_rows_f32 (the last vector's first lanes), whose sums stay in
/// registers.
template <int kVectors>
LETHE_AVX512_INLINE void fma_columns(float* acc, const float* rows, const float* s, int64_t count,
                                     int64_t n, __mmask16 last) noexcept {
  const auto mask = [last](int v) { return v + 1 == kVectors ? last : __mmask16{0xffff}; };
  __m512 sums[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sums[v] = _mm512_maskz_loadu_ps(mask(v), acc + 16 * v);
  for (int64_t k = 0; k < count; ++k, rows += n) {
    const __m512 factor = _mm512_set1_ps(s[k]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[v] = add_product(sums[v], factor, _mm512_maskz_loadu_ps(mask(v), rows + 16 * v));
    }
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) _mm512_mask_storeu_ps(acc + 16 * v, mask(v), sums[v]);
}

void fma_rows_f32(float* acc, const float* rows, const float* s, int64_t count,
                  int64_t n) noexcept {
  int64_t i = 0;
  for (; i + 128 <= n; i += 128) fma_columns<8>(acc + i, rows + i, s, count, n, 0xffff);
  for (; i + 16 <= n; i += 16) fma_columns<1>(acc + i, rows + i, s, count, n, 0xffff);
  if (i < n) fma_columns<1>(acc + i, rows + i, s, count, n, first_lanes(n - i));
}

// --- tiles: a panel holds 16 columns of 16 rows after the other, row by row, padded with zeros.
// Weights are decoded to f32 there, and bf16 activations are widened in the tile (tile_dot.h).

constexpr int64_t kPieceFloats = kPanelRows * kPiece;
constexpr int64_t kHalfTokens = 8;  // of a tile

struct F32Row {
  static constexpr int64_t kStep = 16;
  LETHE_AVX512_INLINE static void decode(const WeightRow& row, int64_t column, int64_t count,
                                         __m512* out) noexcept {
    out[0] = _mm512_maskz_loadu_ps(first_lanes(count < 16 ? count : 16), row.data + 4 * column);
  }
};
struct Bf16Row {
  static constexpr int64_t kStep = 16;
  LETHE_AVX512_INLINE static void decode(const WeightRow& row, int64_t column, int64_t count,
                                         __m512* out) noexcept {
    out[0] = widen_bf16(
        _mm256_maskz_loadu_epi16(first_lanes(count < 16 ? count : 16), row.data + 2 * column));
  }
};
struct F16Row {
  static constexpr int64_t kStep = 16;
  LETHE_AVX512_INLINE static void decode(const WeightRow& row, int64_t column, int64_t count,
                                         __m512* out) noexcept {
    out[0] = _mm512_cvtph_ps(
        _mm256_maskz_loadu_epi16(first_lanes(count < 16 ? count : 16), row.data + 2 * column));
  }
};
struct Fp8Row {
  static constexpr int64_t kStep = 64;
  LETHE_AVX512_INLINE static void decode(const WeightRow& row, int64_t column, int64_t count,
                                         __m512* out) noexcept {
    decode64(row, ScaleTiles(row), column, count, out);
  }
};

template <typename Row>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  auto* out = reinterpret_cast<float*>(panel);
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  constexpr int64_t kPieces = Row::kStep / kPiece;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    for (int64_t p = 0; p < pieces; p += kPieces) {
      __m512 v[kPieces] = {};
      if (r < num_rows) Row::decode(rows[r], p * kPiece, n - p * kPiece, v);
      for (int64_t i = 0; i < kPieces && p + i < pieces; ++i) {
        _mm512_store_ps(out + (p + i) * kPieceFloats + r * kPiece, v[i]);
      }
    }
  }
}

/// Up to 8 tokens with 16 rows. The columns are taken in parts: those of the tokens and of the
/// panel stay in the first cache beside the sums.
void dot_half(const float* panel, const float* x, int64_t num_rows, int64_t num_tokens,
              int64_t pieces, float* out, int64_t out_stride) noexcept {
  constexpr int64_t kPart = 8;
  __m512 totals[kPanelRows / kTogether][kHalfTokens][kTogether];
  for (auto& rows : totals) {
    for (auto& token : rows) {
      for (__m512& total : token) total = _mm512_setzero_ps();
    }
  }
  for (int64_t begin = 0; begin < pieces; begin += kPart) {
    const int64_t count = pieces - begin < kPart ? pieces - begin : kPart;
    const float* weights = panel + begin * kPieceFloats;
    const float* columns = x + begin * kPieceFloats;
    for (int64_t r = 0; r < num_rows; r += kTogether) {
      for (int64_t t = 0; t < num_tokens; t += kTogether) {
        multiply_4x4<kPieceFloats>(weights + r * kPiece, columns + t * kPiece, count,
                                   totals[r / kTogether] + t);
      }
    }
  }
  for (int64_t t = 0; t < num_tokens; ++t) {
    for (int64_t r = 0; r < num_rows; ++r) {
      out[t * out_stride + r] = sum_lanes(totals[r / kTogether][t][r % kTogether]);
    }
  }
}

void tile_dot(const std::byte* panel, int64_t num_rows, int64_t n, const ActivationTile& tile,
              float* out, int64_t out_stride) noexcept {
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  for (int64_t t = 0; t < tile.count; t += kHalfTokens) {
    dot_half(reinterpret_cast<const float*>(panel), tile.f32 + t * kPiece, num_rows,
             tile.count - t < kHalfTokens ? tile.count - t : kHalfTokens, pieces,
             out + t * out_stride, out_stride);
  }
}

}  // namespace

void install_avx512_f32(KernelTable& table) noexcept {
  table.dot_f32 = dot_f32;
  table.fma_row_f32 = fma_row_f32;
  table.fma_rows_f32 = fma_rows_f32;
  table.row_dot[static_cast<size_t>(Encoding::F32)] = row_dot;
  table.bf16_rows_with_f32 = bf16_rows_with_f32;
  const auto set_tile = [&table](Encoding encoding, PackRows pack_rows, int64_t scale_multiple) {
    table.tile[static_cast<size_t>(encoding)] = {.group_bytes = 2 * kPieceFloats * 4,
                                                 .scale_multiple = scale_multiple,
                                                 .pack = pack_rows,
                                                 .dot = tile_dot};
  };
  set_tile(Encoding::F32, pack<F32Row>, 1);
  set_tile(Encoding::BF16, pack<Bf16Row>, 1);
  set_tile(Encoding::F16, pack<F16Row>, 1);
  set_tile(Encoding::Fp8Block, pack<Fp8Row>, 32);
  set_tile(Encoding::Fp8Row, pack<Fp8Row>, 32);
}

}  // namespace lethe::kernels
