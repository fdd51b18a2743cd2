#include "kernels/avx512_vectors.h"
#include "kernels/avx512bf16.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int64_t kPiece = 32;  // elements of a vector
constexpr int32_t kBf16Block = 128;
constexpr int kTogether = 4;  // rows, and tokens, of a step of a tile

LETHE_AVX512_INLINE __m512 add_pairs(__m512 sums, __m512i w, __m512i x) noexcept {
  return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
}
/// The first `count` of 32 numbers, and zeros.
LETHE_AVX512_INLINE __m512i load_some(const uint16_t* p, int64_t count) noexcept {
  return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << count) - 1), p);
}
LETHE_AVX512_INLINE float reduce(__m512 v) noexcept {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// --- formats: block_columns(row), scale(row, block), and 64 elements from a column on as bf16.

struct Bf16Row {
  static constexpr bool kScaled = false;
  static int32_t block_columns(const WeightRow&) noexcept { return kBf16Block; }
  LETHE_AVX512_INLINE static float scale(const WeightRow&, int64_t) noexcept { return 1.0F; }
  LETHE_AVX512_INLINE static void load64(const std::byte* row, int64_t column,
                                         __m512i* out) noexcept {
    out[0] = load512(row + 2 * column);
    out[1] = load512(row + 2 * column + 64);
  }
  static void load_tail(const std::byte* row, int64_t column, int64_t count,
                        __m512i* out) noexcept {
    alignas(64) uint16_t padded[64] = {};
    __builtin_memcpy(padded, row + 2 * column, static_cast<size_t>(2 * count));
    load64(reinterpret_cast<const std::byte*>(padded), 0, out);
  }
};

/// bf16 bits of the magnitudes that e4m3 codes mean, the bytes apart.
struct E4m3Table {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};
constexpr E4m3Table make_e4m3_table() noexcept {
  E4m3Table table{};
  for (int code = 0; code < 128; ++code) {
    int exponent = (code >> 3) + 120;
    int mantissa = code & 7;
    if (exponent == 120 && mantissa != 0) {  // subnormal there, not in bf16
      exponent = 121;
      for (; mantissa < 8; mantissa *= 2) --exponent;
    }
    int bits = exponent << 7 | (mantissa & 7) << 4;
    if (code == 0) bits = 0;
    if (code == 127) bits = 0x7fc0;
    table.low[code] = static_cast<uint8_t>(bits & 255);
    table.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  return table;
}
constexpr E4m3Table kE4m3 = make_e4m3_table();

struct Fp8Row {
  static constexpr bool kScaled = true;
  static int32_t block_columns(const WeightRow& row) noexcept { return row.scale_block; }
  LETHE_AVX512_INLINE static float scale(const WeightRow& row, int64_t block) noexcept {
    float value;
    if (row.scales_f32) {
      __builtin_memcpy(&value, row.scales + 4 * block, sizeof(value));
    } else {
      const auto e = static_cast<uint32_t>(row.scales[block]);
      const uint32_t bits = e << 23 | (e == 0 || e == 255 ? 0x00400000u : 0u);
      __builtin_memcpy(&value, &bits, sizeof(value));
    }
    return value;
  }
  LETHE_AVX512_INLINE static void load64(const std::byte* row, int64_t column,
                                         __m512i* out) noexcept {
    decode(load512(row + column), out);
  }
  static void load_tail(const std::byte* row, int64_t column, int64_t count,
                        __m512i* out) noexcept {
    decode(_mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, row + column), out);
  }
  LETHE_AVX512_INLINE static void decode(__m512i codes, __m512i* out) noexcept {
    // Bytes 8j .. 8j + 7 of both halves to lane j, where unpacking leaves them in order.
    const __m512i lanes = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    const __m512i c = _mm512_permutexvar_epi64(lanes, codes);
    const __m512i low = _mm512_permutex2var_epi8(load512(kE4m3.low), c, load512(kE4m3.low + 64));
    const __m512i magnitude =
        _mm512_permutex2var_epi8(load512(kE4m3.high), c, load512(kE4m3.high + 64));
    // Sign bit of the code, else the magnitude's bits.
    const __m512i high = _mm512_ternarylogic_epi32(bytes512(0x80), c, magnitude, 0xCA);
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
  }
};

LETHE_AVX512_INLINE __m512 add_block(__m512 total, __m512 block, float scale,
                                     bool scaled) noexcept {
  return scaled ? _mm512_add_ps(total, _mm512_mul_ps(block, _mm512_set1_ps(scale)))
                : _mm512_add_ps(total, block);
}

// --- rows with one token

/// Columns [begin, end) of a block.
template <typename Format>
LETHE_AVX512_INLINE __m512 block_sums(const std::byte* row, const uint16_t* x, int64_t begin,
                                      int64_t end) noexcept {
  __m512 sums = _mm512_setzero_ps();
  int64_t i = begin;
  __m512i w[2];
  for (; i + 64 <= end; i += 64) {
    Format::load64(row, i, w);
    sums = add_pairs(sums, w[0], load512(x + i));
    sums = add_pairs(sums, w[1], load512(x + i + kPiece));
  }
  if (i < end) {
    const int64_t rest = end - i;
    Format::load_tail(row, i, rest, w);
    sums = add_pairs(sums, w[0], load_some(x + i, rest < kPiece ? rest : kPiece));
    if (rest > kPiece) sums = add_pairs(sums, w[1], load_some(x + i + kPiece, rest - kPiece));
  }
  return sums;
}

template <typename Format>
float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  const int64_t columns = Format::block_columns(row);
  __m512 total = _mm512_setzero_ps();
  int64_t block = 0;
  int64_t begin = 0;
  if (columns == 128) {
    for (; begin + 128 <= n; begin += 128, ++block) {
      const __m512 sums = block_sums<Format>(row.data, token.bf16, begin, begin + 128);
      total = add_block(total, sums, Format::scale(row, block), Format::kScaled);
    }
  }
  for (; begin < n; begin += columns, ++block) {
    const int64_t end = begin + columns < n ? begin + columns : n;
    const __m512 sums = block_sums<Format>(row.data, token.bf16, begin, end);
    total = add_block(total, sums, Format::scale(row, block), Format::kScaled);
  }
  return reduce(total);
}

/// Tiles of scales of other widths than 32 go to the AVX2 set's kernel (tests make them).
RowDot narrow_fp8_row_dot = nullptr;

template <typename Format>
bool fits(const WeightRow& row) noexcept {
  return Format::block_columns(row) % kPiece == 0;
}

template <typename Format>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; ++r) {
    if (fits<Format>(rows[r])) {
      out[r] = dot_one<Format>(rows[r], n, token);
    } else {
      narrow_fp8_row_dot(rows[r], n, &token, 1, out + r);
    }
  }
}

template <typename Format>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t t = 0; t < num_tokens; ++t) rows_dot<Format>(&row, 1, n, tokens[t], out + t);
}

// --- tiles: a panel holds 32 columns of 16 rows after the other, as bf16 and padded with zeros,
// row by row; then for each 32 columns the scales of the rows; then the columns of a block of
// scales.

struct Panel {
  std::byte* bytes;
  int64_t pieces;

  static constexpr int64_t kPieceBytes = kPanelRows * 2 * kPiece;
  static constexpr int64_t kGroupBytes = kPieceBytes + kPanelRows * 4 + 64;
  Panel(const std::byte* panel, int64_t n) noexcept
      : bytes(const_cast<std::byte*>(panel)), pieces((n + kPiece - 1) / kPiece) {}
  LETHE_AVX512_INLINE std::byte* weights(int64_t piece, int64_t row) const noexcept {
    return bytes + piece * kPieceBytes + row * 2 * kPiece;
  }
  LETHE_AVX512_INLINE float* scales(int64_t piece) const noexcept {
    return reinterpret_cast<float*>(bytes + pieces * kPieceBytes) + piece * kPanelRows;
  }
  LETHE_AVX512_INLINE int64_t& block_columns() const noexcept {
    return *reinterpret_cast<int64_t*>(scales(pieces));
  }
};

template <typename Format>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* bytes) noexcept {
  const Panel panel(bytes, n);
  const int64_t columns = Format::block_columns(rows[0]);
  panel.block_columns() = columns;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    for (int64_t piece = 0; piece < panel.pieces; piece += 2) {
      const int64_t rest = n - piece * kPiece;
      __m512i w[2] = {};
      if (r < num_rows) {
        if (rest >= 64) {
          Format::load64(rows[r].data, piece * kPiece, w);
        } else {
          Format::load_tail(rows[r].data, piece * kPiece, rest, w);
        }
      }
      _mm512_store_si512(panel.weights(piece, r), w[0]);
      if (rest > kPiece) _mm512_store_si512(panel.weights(piece + 1, r), w[1]);
    }
    for (int64_t piece = 0; piece < panel.pieces; ++piece) {
      panel.scales(piece)[r] =
          r < num_rows ? Format::scale(rows[r], piece * kPiece / columns) : 0.0F;
    }
  }
}

/// 32 columns of kTogether rows and tokens.
template <int kTokens>
LETHE_AVX512_INLINE void add_piece(const std::byte* weights, const uint16_t* const* x,
                                   int64_t column, __mmask32 present,
                                   __m512 (*sums)[kTogether]) noexcept {
  __m512i w[kTogether];
#pragma GCC unroll 4
  for (int r = 0; r < kTogether; ++r) w[r] = load512(weights + 2 * kPiece * r);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m512i v = _mm512_maskz_loadu_epi16(present, x[t] + column);
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) sums[t][r] = add_pairs(sums[t][r], w[r], v);
  }
}

/// Lanes of the sums of kTogether rows, [token][row].
using Totals = __m512 (*)[kTogether];

/// Adds columns [begin, end), whole blocks or to the end of a row, of kTogether rows.
template <bool kScaled, int kTokens>
void multiply(const Panel& panel, int64_t row, int64_t begin, int64_t end, const Activation* tokens,
              Totals totals) noexcept {
  const int64_t columns = panel.block_columns();
  const uint16_t* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = tokens[t].bf16;
  for (; begin < end; begin += columns) {
    const int64_t block_end = begin + columns < end ? begin + columns : end;
    __m512 sums[kTokens][kTogether];
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 4
      for (int r = 0; r < kTogether; ++r) sums[t][r] = _mm512_setzero_ps();
    }
    int64_t i = begin;
    if (block_end - begin == 128) {
#pragma GCC unroll 4
      for (int piece = 0; piece < 4; ++piece, i += kPiece) {
        add_piece<kTokens>(panel.weights(i / kPiece, row), x, i, 0xffffffff, sums);
      }
    }
    for (; i + kPiece <= block_end; i += kPiece) {
      add_piece<kTokens>(panel.weights(i / kPiece, row), x, i, 0xffffffff, sums);
    }
    if (i < block_end) {
      const auto present = static_cast<__mmask32>((uint64_t{1} << (block_end - i)) - 1);
      add_piece<kTokens>(panel.weights(i / kPiece, row), x, i, present, sums);
    }
    const float* scales = panel.scales(begin / kPiece) + row;
#pragma GCC unroll 4
    for (int r = 0; r < kTogether; ++r) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        __m512& total = totals[t][r];
        total = add_block(total, sums[t][r], scales[r], kScaled);
      }
    }
  }
}

/// reduce() of the vectors of 16 rows, to a lane each.
__m512 reduce16(const __m512 (*totals)[kTogether]) noexcept {
  __m512 v[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) {
    v[r] = totals[r / kTogether * kTileTokens][r % kTogether];
  }
  __m512 a[8];
  for (int i = 0; i < 8; ++i) {
    a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44),
                         _mm512_shuffle_f32x4(v[i], v[i + 8], 0xEE));
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a[i], a[i + 4], 0x88),
                         _mm512_shuffle_f32x4(a[i], a[i + 4], 0xDD));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512d first = _mm512_castps_pd(a[i]);
    const __m512d second = _mm512_castps_pd(a[i + 2]);
    a[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(first, second)),
                         _mm512_castpd_ps(_mm512_unpackhi_pd(first, second)));
  }
  const __m512 sums =
      _mm512_add_ps(_mm512_shuffle_ps(a[0], a[1], 0x88), _mm512_shuffle_ps(a[0], a[1], 0xDD));
  // Lane 4l + d holds vector {0, 8, 4, 12}[l] + {0, 2, 1, 3}[d].
  return _mm512_permutexvar_ps(
      _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15), sums);
}

/// The columns are taken in parts: those of the tile and of the panel stay in the first cache, with
/// the sums.
template <bool kScaled>
void tile_dot(const std::byte* bytes, int64_t num_rows, int64_t n, const ActivationTile& tile,
              float* out, int64_t out_stride) noexcept {
  constexpr int64_t kPart = 256;
  const Panel panel(bytes, n);
  const int64_t columns = panel.block_columns();
  const int64_t part = columns >= kPart ? columns : kPart / columns * columns;
  __m512 totals[kPanelRows / kTogether][kTileTokens][kTogether];
  for (auto& rows : totals) {
    for (auto& token : rows) {
      for (__m512& total : token) total = _mm512_setzero_ps();
    }
  }
  for (int64_t begin = 0; begin < n; begin += part) {
    const int64_t end = begin + part < n ? begin + part : n;
    for (int64_t r = 0; r < num_rows; r += kTogether) {
      const Totals sums = totals[r / kTogether];
      int64_t t = 0;
      for (; t + kTogether <= tile.count; t += kTogether) {
        multiply<kScaled, kTogether>(panel, r, begin, end, tile.tokens + t, sums + t);
      }
      for (; t + 2 <= tile.count; t += 2) {
        multiply<kScaled, 2>(panel, r, begin, end, tile.tokens + t, sums + t);
      }
      if (t < tile.count) {
        multiply<kScaled, 1>(panel, r, begin, end, tile.tokens + t, sums + t);
      }
    }
  }
  const auto present = static_cast<__mmask16>((1u << num_rows) - 1);
  for (int64_t t = 0; t < tile.count; ++t) {
    _mm512_mask_storeu_ps(out + t * out_stride, present, reduce16(totals[0] + t));
  }
}

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  const auto index = static_cast<size_t>(encoding);
  table.own_bits[index] = true;
  table.row_dot[index] = row_dot<Format>;
  table.rows_dot[index] = rows_dot<Format>;
  table.tile[index] = {.group_bytes = Panel::kGroupBytes,
                       .scale_multiple = kPiece,
                       .pack = pack<Format>,
                       .dot = tile_dot<Format::kScaled>};
}

}  // namespace

void install_avx512bf16_dots(KernelTable& table) noexcept {
  narrow_fp8_row_dot = table.row_dot[static_cast<size_t>(Encoding::Fp8Block)];
  set<Bf16Row>(table, Encoding::BF16);
  set<Fp8Row>(table, Encoding::Fp8Block);
  set<Fp8Row>(table, Encoding::Fp8Row);
}

}  // namespace lethe::kernels
