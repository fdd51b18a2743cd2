#include "kernels/avx512_e4m3.h"
#include "kernels/avx512bf16.h"
#include "kernels/avx512bf16_tile.h"
#include "kernels/plain_scales.h"

// FP8 with scales that are powers of two: their product with a code is a bf16 number, but for
// subnormal ones, which vpdpbf16ps takes for zero.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int64_t kAhead = 2048;  // bytes that are asked for before they are read
constexpr int64_t kChunk = 8192;  // columns whose activations take on scales at a time
static_assert(kChunk % kBlock == 0);

/// Any row, weights with their scales.
struct Fp8Weights {
  static constexpr int64_t kWidth = 64;
  WeightRow row;
  ScaleTiles tiles;

  explicit Fp8Weights(const WeightRow& weight_row) noexcept : row(weight_row), tiles(weight_row) {}
  LETHE_AVX512_INLINE void load(int64_t column, int64_t count, __m512i* w) const noexcept {
    __m512 values[4];
    decode64(row, tiles, column, count < kWidth ? count : kWidth, values);
    w[0] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(values[1], values[0]));
    w[1] = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(values[3], values[2]));
  }
};

/// Whole steps of a row whose scales the activations have taken on.
template <bool kNarrow>
struct PlainWeights {
  static constexpr int64_t kWidth = 64;
  const std::byte* data;

  LETHE_AVX512_INLINE void load(int64_t column, int64_t, __m512i* w) const noexcept {
    if constexpr (kNarrow) {
      e4m3_to_bf16(load512_halves(data + column), w);
    } else {
      __builtin_prefetch(data + column + kAhead);  // past the row is the next one
      e4m3_to_bf16(load512(data + column), w);
    }
  }
};

/// Lanes of some rows, and a part of a token's activations with the scales.
struct Work {
  static constexpr int64_t kRows = 64;
  alignas(64) uint16_t scaled[kChunk];
  __m512 totals[kRows];
};

/// scaled = x times the scales of the tiles, of whole steps. False if one is neither zero nor
/// within 2^+-kRange: then products with what comes out might not be those of scaled weights.
bool scale_columns(const WeightRow& row, int64_t begin, int64_t end, const uint16_t* x,
                   uint16_t* scaled) noexcept {
  const ScaleTiles tiles(row);
  const __m512i magnitude = _mm512_set1_epi16(0x7fff);
  const __m512i least = _mm512_set1_epi16((127 - kRange) << 7);
  const __m512i most = _mm512_set1_epi16((127 + kRange) << 7);
  __mmask32 bad = 0;
  for (int64_t i = begin; i < end; i += kPiece) {
    const int exponent = static_cast<int>(row.scales[tiles.of(i)]) - 127;
    const __m512i v = load512(x + i);
    const __m512i bits = _mm512_and_si512(v, magnitude);
    const __mmask32 nonzero = _mm512_test_epi16_mask(bits, bits);
    bad |= nonzero & (_mm512_cmplt_epi16_mask(bits, least) | _mm512_cmpgt_epi16_mask(bits, most));
    const __m512i added = _mm512_set1_epi16(static_cast<int16_t>(exponent * 128));
    _mm512_store_si512(scaled + (i - begin), _mm512_mask_add_epi16(v, nonzero, v, added));
  }
  return bad == 0;
}

template <bool kNarrow>
void some_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
               float* out) noexcept {
  Work work;
  for (int64_t r = 0; r < num_rows; ++r) work.totals[r] = _mm512_setzero_ps();
  using Plain = PlainWeights<kNarrow>;
  const bool plain = n % Plain::kWidth == 0 && share_plain_scales(rows, num_rows, n, kPiece);
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = begin + kChunk < n ? begin + kChunk : n;
    if (plain && scale_columns(rows[0], begin, end, token.bf16, work.scaled)) {
      for (int64_t r = 0; r < num_rows; ++r) {
        work.totals[r] = add_columns(Plain{rows[r].data}, begin, end, work.scaled, work.totals[r]);
      }
    } else {
      for (int64_t r = 0; r < num_rows; ++r) {
        work.totals[r] =
            add_columns(Fp8Weights(rows[r]), begin, end, token.bf16 + begin, work.totals[r]);
      }
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) out[r] = sum_pairs(work.totals[r]);
}

// --- rows with scales that are f32, or of tiles of odd widths: as before

RowDot other_row_dot = nullptr;
RowsDot other_rows_dot = nullptr;

bool ours(const WeightRow& row) noexcept {
  return !row.scales_f32 && row.scale_block % kPiece == 0;
}

template <bool kNarrow>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  if (num_rows > 0 && !ours(rows[0])) {
    other_rows_dot(rows, num_rows, n, token, out);
    return;
  }
  while (num_rows > 0) {
    const int64_t count = rows_sharing_scales(rows, num_rows, Work::kRows);
    some_rows<kNarrow>(rows, count, n, token, out);
    rows += count;
    out += count;
    num_rows -= count;
  }
}

void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  if (!ours(row)) {
    other_row_dot(row, n, tokens, num_tokens, out);
    return;
  }
  for (int64_t t = 0; t < num_tokens; ++t) out[t] = dot_one<Fp8Weights>(row, n, tokens[t]);
}

void set(KernelTable& table, Encoding encoding, bool narrow_streams) noexcept {
  const auto index = static_cast<size_t>(encoding);
  table.own_bits[index] = true;
  table.row_dot[index] = row_dot;
  table.rows_dot[index] = narrow_streams ? rows_dot<true> : rows_dot<false>;
  table.f32_scale_tile[index] = table.tile[index];
  table.tile[index] = tile_kernel<Fp8Weights>(kPiece);
}

}  // namespace

void install_avx512bf16_fp8_dots(KernelTable& table, bool narrow_streams) noexcept {
  other_row_dot = table.row_dot[static_cast<size_t>(Encoding::Fp8Block)];
  other_rows_dot = table.rows_dot[static_cast<size_t>(Encoding::Fp8Block)];
  set(table, Encoding::Fp8Block, narrow_streams);
  set(table, Encoding::Fp8Row, narrow_streams);
}

}  // namespace lethe::kernels
