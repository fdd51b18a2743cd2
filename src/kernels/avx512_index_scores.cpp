#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512.h"
#include "kernels/index_scores.h"

// Lanes are heads: a quad of key codes is broadcast to all of them, and a vector of the query's
// codes serves four keys. The unsigned operand of the dot instruction is the key's, offset by 12;
// what that adds is in the sums from the start (IndexQueryCodes::biases).

namespace lethe::kernels {

namespace {

#define LETHE_INLINE [[gnu::always_inline]] inline

constexpr int kKeys = 4;  // that pass the query together

struct DecodedKeys {
  alignas(64) uint8_t codes[kKeys][kMaxIndexDim];  // low nibbles of the row, then high ones
  alignas(16) float scales[kKeys][kMaxIndexDim / kIndexGroup + 3];
};

LETHE_INLINE uint32_t load32(const uint8_t* p) noexcept {
  uint32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

/// e8m0 bytes to f32: 0 is 2^-127, 255 NaN.
LETHE_INLINE void decode_scales(const uint8_t* bytes, int64_t count, float* out) noexcept {
  for (int64_t g = 0; g < count; g += 4) {
    uint32_t four = 0;
    if (g + 4 <= count) {
      four = load32(bytes + g);
    } else {
      for (int64_t i = g; i < count; ++i) four |= uint32_t{bytes[i]} << 8 * (i - g);
    }
    const __m128i codes = _mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(four)));
    const __m128i zero = _mm_cmpeq_epi32(codes, _mm_setzero_si128());
    const __m128i top = _mm_cmpeq_epi32(codes, _mm_set1_epi32(255));
    const __m128i quiet = _mm_and_si128(_mm_or_si128(zero, top), _mm_set1_epi32(0x00400000));
    _mm_storeu_ps(out + g, _mm_castsi128_ps(_mm_or_si128(_mm_slli_epi32(codes, 23), quiet)));
  }
}

LETHE_INLINE void decode(const std::byte* key, int64_t dim, uint8_t* codes,
                         float* scales) noexcept {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(key);
  const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
  const int64_t half = dim / 2;
  int64_t b = 0;
  const __m512i wide_table = _mm512_broadcast_i32x4(table);
  const __m512i wide_mask = _mm512_set1_epi8(15);
  for (; b + 64 <= half; b += 64) {
    const __m512i v = _mm512_loadu_si512(bytes + b);
    const __m512i low = _mm512_and_si512(v, wide_mask);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(v, 4), wide_mask);
    _mm512_storeu_si512(codes + b, _mm512_shuffle_epi8(wide_table, low));
    _mm512_storeu_si512(codes + half + b, _mm512_shuffle_epi8(wide_table, high));
  }
  for (; b < half; b += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + b));
    const __m128i low = _mm_and_si128(v, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + b), _mm_shuffle_epi8(table, low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + half + b), _mm_shuffle_epi8(table, high));
  }
  decode_scales(bytes + half, dim / kIndexGroup, scales);
}

/// Adds 16 * kVectors heads, from vector `first` on, to the lanes of each key.
template <int kVectors>
LETHE_INLINE void add_heads(const IndexQueryCodes& query, int64_t first, const DecodedKeys& keys,
                            __m512* lanes) noexcept {
  const int64_t groups = query.dim / kIndexGroup;
  const int64_t half = query.dim / 2;
  __m512 dots[kKeys][kVectors];
  for (int k = 0; k < kKeys; ++k) {
    for (int v = 0; v < kVectors; ++v) dots[k][v] = _mm512_setzero_ps();
  }
  for (int64_t g = 0; g < groups; ++g) {
    const int8_t* codes[kVectors];
    __m512i sums[kKeys][kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = (first + v) * groups + g;
      codes[v] = query.codes + at * 8 * 64;
      const __m512i bias = _mm512_loadu_si512(query.biases + at * 16);
      for (int k = 0; k < kKeys; ++k) sums[k][v] = bias;
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m512i q[kVectors];
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) q[v] = _mm512_loadu_si512(codes[v] + i * 64);
#pragma GCC unroll 4
      for (int k = 0; k < kKeys; ++k) {
        const uint8_t* const quad = keys.codes[k] + (i < 4 ? 0 : half) + g * 16 + 4 * (i % 4);
        const __m512i key = _mm512_set1_epi32(static_cast<int>(load32(quad)));
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) sums[k][v] = _mm512_dpbusd_epi32(sums[k][v], key, q[v]);
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const __m512 scale = _mm512_set1_ps(keys.scales[k][g]);
      // The product is exact (a power of two), so fusing does not show.
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        dots[k][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[k][v]), scale, dots[k][v]);
      }
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) {
    const __m512 weights = _mm512_loadu_ps(query.weights + (first + v) * 16);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const __m512 positive = _mm512_max_ps(dots[k][v], _mm512_setzero_ps());
      lanes[k] = _mm512_add_ps(lanes[k], _mm512_mul_ps(weights, positive));
    }
  }
}

/// lane l += lane l + 8, + 4.
LETHE_INLINE __m128 four_lanes(__m512 v) noexcept {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

/// The sums of four vectors' lanes, in the tree's order.
LETHE_INLINE __m128 reduce_four(const __m512* lanes) noexcept {
  __m128 a = four_lanes(lanes[0]);
  __m128 b = four_lanes(lanes[1]);
  __m128 c = four_lanes(lanes[2]);
  __m128 d = four_lanes(lanes[3]);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  return _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d));
}

/// The scores of the decoded keys.
LETHE_INLINE __m128 scores_of(const IndexQueryCodes& query, const DecodedKeys& keys) noexcept {
  const int64_t vectors = query.heads / kIndexHeadLanes;
  __m512 lanes[kKeys];
  for (int k = 0; k < kKeys; ++k) lanes[k] = _mm512_setzero_ps();
  int64_t v = 0;
  for (; v + 2 <= vectors; v += 2) add_heads<2>(query, v, keys, lanes);
  if (v < vectors) add_heads<1>(query, v, keys, lanes);
  return reduce_four(lanes);
}

void index_scores(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                  int64_t count, float* out) noexcept {
  DecodedKeys decoded;
  for (int64_t j = 0; j < count; j += kKeys) {
    const int64_t last = count - 1 - j;  // repeated, where fewer than kKeys are left
    for (int64_t k = 0; k < kKeys; ++k) {
      decode(keys + (j + (k < last ? k : last)) * stride, query.dim, decoded.codes[k],
             decoded.scales[k]);
    }
    const __m128 scores = scores_of(query, decoded);
    if (last >= kKeys - 1) {
      _mm_storeu_ps(out + j, scores);
    } else {
      _mm_mask_storeu_ps(out + j, static_cast<__mmask8>((1u << (last + 1)) - 1), scores);
    }
  }
}

}  // namespace

void install_avx512_index_scores(KernelTable& table) noexcept {
  table.index_scores = index_scores;
}

}  // namespace lethe::kernels
