#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2.h"
#include "kernels/scalar.h"

// Row dots whose weights become f32. The 16 lanes of a sum are two vectors: with bf16 activations
// the even and the odd lanes, because that is how pairs of 16-bit numbers widen without a shuffle;
// with f32 activations the first and the last 8. Either way each lane adds the products that the
// scalar set adds, in its order, unfused.

namespace lethe::kernels {

namespace {

using quant::Encoding;

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kChunk = 32;      // elements that a cursor decodes at a time
constexpr int64_t kPiece = 256;     // elements decoded for several tokens
constexpr int64_t kTokenTile = 16;  // tokens that share them
constexpr int64_t kTokenGroup = 4;  // tokens whose sums stay in registers
constexpr int kVectors = kChunk / 8;

template <typename T>
LETHE_AVX2_INLINE T load(const std::byte* p) noexcept {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}
LETHE_AVX2_INLINE __m256i load256(const void* p) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

// Layouts: how 16 consecutive elements lie in two vectors, and how the lanes are reduced.

/// Elements 0, 2, .. 14, then 1, 3, .. 15.
struct EvenOdd {
  using Element = uint16_t;
  static const uint16_t* activations(const Activation& token) noexcept { return token.bf16; }
  LETHE_AVX2_INLINE static void widen(const void* bf16, __m256* out) noexcept {
    const __m256i v = load256(bf16);
    out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(v, 16));
    out[1] = _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(-65536)));
  }
  LETHE_AVX2_INLINE static float reduce(__m256 even, __m256 odd) noexcept {
    return halve(even) + halve(odd);
  }
  /// Lanes l and l + 8, l and l + 4, l and l + 2 of one parity.
  LETHE_AVX2_INLINE static float halve(__m256 v) noexcept {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
};

/// Elements 0 .. 7, then 8 .. 15.
struct InOrder {
  using Element = float;
  static const float* activations(const Activation& token) noexcept { return token.f32; }
  LETHE_AVX2_INLINE static void widen(const float* x, __m256* out) noexcept {
    out[0] = _mm256_loadu_ps(x);
    out[1] = _mm256_loadu_ps(x + 8);
  }
  LETHE_AVX2_INLINE static float reduce(__m256 first, __m256 last) noexcept {
    return EvenOdd::halve(_mm256_add_ps(first, last));
  }
};

// Cursors: walk a row from its start, 32 elements at a time, to 4 vectors in their layout.

struct F32Cursor {
  using Layout = InOrder;
  static constexpr int64_t kElementBytes = 4;
  const std::byte* p;
  explicit F32Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_AVX2_INLINE void next(__m256* out) noexcept {
    for (int v = 0; v < kVectors; ++v) {
      out[v] = _mm256_castsi256_ps(load256(p + 32 * v));
    }
    p += 4 * kChunk;
  }
};

struct Bf16Cursor {
  using Layout = EvenOdd;
  static constexpr int64_t kElementBytes = 2;
  const std::byte* p;
  explicit Bf16Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_AVX2_INLINE void next(__m256* out) noexcept {
    EvenOdd::widen(p, out);
    EvenOdd::widen(p + 32, out + 2);
    p += 2 * kChunk;
  }
};

struct F16Cursor {
  using Layout = EvenOdd;
  static constexpr int64_t kElementBytes = 2;
  const std::byte* p;
  explicit F16Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_AVX2_INLINE void next(__m256* out) noexcept {
    widen(p, out);
    widen(p + 32, out + 2);
    p += 2 * kChunk;
  }
  LETHE_AVX2_INLINE static void widen(const std::byte* halves, __m256* out) noexcept {
    const __m256i parity =
        _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15,  //
                         0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    const __m256i split =
        _mm256_permute4x64_epi64(_mm256_shuffle_epi8(load256(halves), parity), 0xD8);
    out[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(split));
    out[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(split, 1));
  }
};

/// e4m3 through f16: the same fields there mean 2^-8 of the value, exactly; NaN needs its own
/// exponent. Scales are per tile of a multiple of 32 elements.
struct Fp8Cursor {
  using Layout = EvenOdd;
  static constexpr int64_t kElementBytes = 1;
  const std::byte* p;
  const std::byte* scales;
  bool scales_f32;
  bool two_factors = false;  // 2^8 times the scale would overflow
  int32_t chunks_per_tile;
  int32_t chunks_left = 0;
  __m256 scale = _mm256_setzero_ps();

  explicit Fp8Cursor(const WeightRow& row) noexcept
      : p(row.data),
        scales(row.scales),
        scales_f32(row.scales_f32),
        chunks_per_tile(row.scale_block / static_cast<int32_t>(kChunk)) {}

  LETHE_AVX2_INLINE void next(__m256* out) noexcept {
    if (chunks_left == 0) next_tile();
    --chunks_left;
    const __m256i codes = load256(p);
    p += kChunk;
    const __m256i fields = _mm256_set1_epi16(static_cast<int16_t>(0xbf80));
    __m256i even = _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 1), fields);
    __m256i odd = _mm256_and_si256(_mm256_srai_epi16(codes, 1), fields);
    const __m256i magnitude = _mm256_set1_epi8(0x7f);
    const __m256i nan = _mm256_cmpeq_epi8(_mm256_and_si256(codes, magnitude), magnitude);
    if (_mm256_testz_si256(nan, nan) == 0) [[unlikely]] {
      even = _mm256_or_si256(even, _mm256_slli_epi16(nan, 8));
      odd = _mm256_or_si256(odd, _mm256_and_si256(nan, _mm256_set1_epi16(-256)));
    }
    out[0] = scaled(_mm256_castsi256_si128(even));
    out[1] = scaled(_mm256_castsi256_si128(odd));
    out[2] = scaled(_mm256_extracti128_si256(even, 1));
    out[3] = scaled(_mm256_extracti128_si256(odd, 1));
  }
  LETHE_AVX2_INLINE __m256 scaled(__m128i halves) const noexcept {
    const __m256 value = _mm256_cvtph_ps(halves);
    if (two_factors) [[unlikely]] {
      return _mm256_mul_ps(_mm256_mul_ps(value, _mm256_set1_ps(256.0F)), scale);
    }
    return _mm256_mul_ps(value, scale);
  }
  LETHE_AVX2_INLINE void next_tile() noexcept {
    float s;
    if (scales_f32) {
      s = load<float>(scales);
      scales += 4;
    } else {
      const uint32_t e = static_cast<uint32_t>(*scales++);
      const uint32_t as_bits = e << 23 | (e == 0 || e == 255 ? 0x00400000u : 0u);
      __builtin_memcpy(&s, &as_bits, sizeof(s));
    }
    two_factors = s >= 0x1p119F || s <= -0x1p119F;
    scale = _mm256_set1_ps(two_factors ? s : s * 256.0F);
    chunks_left = chunks_per_tile;
  }
};

/// The end of a row that does not fill a chunk, followed by zeros, which add +0 to their lanes.
template <typename Cursor>
struct PaddedWeights {
  alignas(32) std::byte data[kChunk * Cursor::kElementBytes] = {};
  PaddedWeights(const std::byte* p, int64_t count) noexcept {
    __builtin_memcpy(data, p, static_cast<size_t>(count * Cursor::kElementBytes));
  }
};
template <typename Layout>
struct PaddedActivations {
  alignas(32) typename Layout::Element data[kChunk] = {};
  PaddedActivations(const typename Layout::Element* x, int64_t count) noexcept {
    __builtin_memcpy(data, x, static_cast<size_t>(count) * sizeof(x[0]));
  }
};

struct Lanes {
  __m256 v[2];
};

/// lanes += products of 16 elements.
template <typename Layout>
LETHE_AVX2_INLINE void add_products(Lanes& lanes, const __m256* w,
                                    const typename Layout::Element* x) noexcept {
  __m256 wide[2];
  Layout::widen(x, wide);
  lanes.v[0] = _mm256_add_ps(lanes.v[0], _mm256_mul_ps(wide[0], w[0]));
  lanes.v[1] = _mm256_add_ps(lanes.v[1], _mm256_mul_ps(wide[1], w[1]));
}

/// Adds the last `count` < kChunk products of a row for each token.
template <typename Cursor>
void add_tail(Cursor& cursor, int64_t begin, int64_t count, const Activation* tokens, int64_t tile,
              Lanes* lanes) noexcept {
  using Layout = typename Cursor::Layout;
  const PaddedWeights<Cursor> rest(cursor.p, count);
  cursor.p = rest.data;
  __m256 w[kVectors];
  cursor.next(w);
  for (int64_t t = 0; t < tile; ++t) {
    const PaddedActivations<Layout> x(Layout::activations(tokens[t]) + begin, count);
    add_products<Layout>(lanes[t], w, x.data);
    add_products<Layout>(lanes[t], w + 2, x.data + 16);
  }
}

template <typename Cursor>
float dot_one(const WeightRow& row, int64_t n, const Activation& token) noexcept {
  using Layout = typename Cursor::Layout;
  Cursor cursor(row);
  const auto* x = Layout::activations(token);
  Lanes lanes{};
  int64_t i = 0;
  for (; i + kChunk <= n; i += kChunk) {
    __m256 w[kVectors];
    cursor.next(w);
    add_products<Layout>(lanes, w, x + i);
    add_products<Layout>(lanes, w + 2, x + i + 16);
  }
  if (i < n) add_tail(cursor, i, n - i, &token, 1, &lanes);
  return Layout::reduce(lanes.v[0], lanes.v[1]);
}

/// lanes[t] += products of `count` (a multiple of 16) decoded weights, kTokens tokens at once.
template <typename Layout, int kTokens>
LETHE_AVX2_INLINE void add_piece(const float* weights, int64_t begin, int64_t count,
                                 const Activation* tokens, Lanes* lanes) noexcept {
  const typename Layout::Element* x[kTokens];
  Lanes sums[kTokens];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    x[t] = Layout::activations(tokens[t]) + begin;
    sums[t] = lanes[t];
  }
  for (int64_t i = 0; i < count; i += 16) {
    const __m256 w[2] = {_mm256_load_ps(weights + i), _mm256_load_ps(weights + i + 8)};
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) add_products<Layout>(sums[t], w, x[t] + i);
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) lanes[t] = sums[t];
}

template <typename Cursor>
void dot_tile(const WeightRow& row, int64_t n, const Activation* tokens, int64_t tile,
              float* out) noexcept {
  using Layout = typename Cursor::Layout;
  Cursor cursor(row);
  Lanes lanes[kTokenTile] = {};
  alignas(32) float weights[kPiece];
  const int64_t whole = n / kChunk * kChunk;
  for (int64_t begin = 0; begin < whole; begin += kPiece) {
    const int64_t count = whole - begin < kPiece ? whole - begin : kPiece;
    for (int64_t i = 0; i < count; i += kChunk) {
      __m256 w[kVectors];
      cursor.next(w);
      for (int v = 0; v < kVectors; ++v) _mm256_store_ps(weights + i + 8 * v, w[v]);
    }
    int64_t t = 0;
    for (; t + kTokenGroup <= tile; t += kTokenGroup) {
      add_piece<Layout, kTokenGroup>(weights, begin, count, tokens + t, lanes + t);
    }
    for (; t < tile; ++t) add_piece<Layout, 1>(weights, begin, count, tokens + t, lanes + t);
  }
  if (whole < n) add_tail(cursor, whole, n - whole, tokens, tile, lanes);
  for (int64_t t = 0; t < tile; ++t) out[t] = Layout::reduce(lanes[t].v[0], lanes[t].v[1]);
}

template <typename Cursor>
void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t first = 0; first < num_tokens; first += kTokenTile) {
    const int64_t rest = num_tokens - first;
    const int64_t tile = rest < kTokenTile ? rest : kTokenTile;
    if (tile == 1) {
      out[first] = dot_one<Cursor>(row, n, tokens[first]);
    } else {
      dot_tile<Cursor>(row, n, tokens + first, tile, out + first);
    }
  }
}

/// Tiles of other widths than the formats have (tests make them) go to the scalar set.
void fp8_row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
                 float* out) noexcept {
  if (row.scale_block % kChunk == 0) {
    row_dot<Fp8Cursor>(row, n, tokens, num_tokens, out);
  } else {
    scalar_fp8_row_dot(row, n, tokens, num_tokens, out);
  }
}

}  // namespace

void install_avx2_wide_row_dots(KernelTable& table) noexcept {
  table.row_dot[static_cast<size_t>(Encoding::F32)] = row_dot<F32Cursor>;
  table.row_dot[static_cast<size_t>(Encoding::F16)] = row_dot<F16Cursor>;
  table.row_dot[static_cast<size_t>(Encoding::BF16)] = row_dot<Bf16Cursor>;
  table.row_dot[static_cast<size_t>(Encoding::Fp8Block)] = fp8_row_dot;
  table.row_dot[static_cast<size_t>(Encoding::Fp8Row)] = fp8_row_dot;
}

}  // namespace lethe::kernels
