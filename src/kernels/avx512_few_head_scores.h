#pragma once

#include "kernels/avx512_vectors.h"
#include "kernels/index_scores.h"

// Index scores of queries with at most 16 heads, as small models have them: lanes are keys here, 16
// of them, turned once, and serve one head after the other. With heads as lanes most lanes would
// be padding. Sums are those of index_scores.h, operation by operation; heads that are padding add
// zeros to a lane that is not -0, and are left out.

namespace lethe::kernels {
namespace {

constexpr int64_t kLaneKeys = 16;

/// Scales of 16 keys' group g: within 2^-126 .. 2^93, or false.
LETHE_AVX512_INLINE bool lane_scales(const uint8_t* const* rows, int64_t offset,
                                     __m512& out) noexcept {
  alignas(16) uint8_t bytes[kLaneKeys];
  for (int64_t k = 0; k < kLaneKeys; ++k) bytes[k] = rows[k][offset];
  const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
  out = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(v), 23));
  const __m128i below = _mm_sub_epi8(v, _mm_set1_epi8(1));  // 0 becomes 255
  return _mm_cmpgt_epu8_mask(below, _mm_set1_epi8(static_cast<char>(219))) == 0;
}

/// A group's 16 bytes of codes of 16 keys to 8 quads, offset by 12: dword k is key k's.
LETHE_AVX512_INLINE void lane_quads(const uint8_t* const* rows, int64_t offset,
                                    __m512i* quads) noexcept {
  const __m512i table = _mm512_broadcast_i32x4(
      _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
  __m512i turned[4];
  turn16([&](int k) { return rows[k] + offset; }, turned);
#pragma GCC unroll 4
  for (int d = 0; d < 4; ++d) {
    quads[d] = _mm512_shuffle_epi8(table, low_nibbles(turned[d]));
    quads[4 + d] = _mm512_shuffle_epi8(table, high_nibbles(turned[d]));
  }
}

/// dots[h] += the group's dots of head h with 16 keys.
template <int kHeads>
LETHE_AVX512_INLINE void add_lane_dots(const IndexQueryCodes& query, int64_t g,
                                       const __m512i* quads, __m512 scales, __m512* dots) noexcept {
  const int8_t* const codes = query.codes + g * 8 * 4 * kIndexHeadLanes;
  const int32_t* const biases = query.biases + g * kIndexHeadLanes;
#pragma GCC unroll 16
  for (int h = 0; h < kHeads; ++h) {
    __m512i sum = _mm512_set1_epi32(biases[h]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      int32_t four;
      __builtin_memcpy(&four, codes + 4 * (kIndexHeadLanes * i + h), sizeof(four));
      sum = _mm512_dpbusd_epi32(sum, quads[i], _mm512_set1_epi32(four));
    }
    // The product is exact (a power of two), so fusing does not show.
    dots[h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, dots[h]);
  }
}

/// The scores of 16 keys, or false where a scale is one that other code must see.
template <int kHeads>
LETHE_AVX512_INLINE bool lane_scores(const IndexQueryCodes& query, const uint8_t* const* rows,
                                     __m512& out) noexcept {
  __m512 heads[kHeads];
  for (__m512& dot : heads) dot = _mm512_setzero_ps();
  for (int64_t g = 0; g < query.dim / kIndexGroup; ++g) {
    __m512 scales;
    if (!lane_scales(rows, query.dim / 2 + g, scales)) return false;
    __m512i quads[8];
    lane_quads(rows, g * kIndexGroup / 2, quads);
    add_lane_dots<kHeads>(query, g, quads, scales, heads);
  }
#pragma GCC unroll 16
  for (int h = 0; h < kHeads; ++h) {
    const __m512 positive = _mm512_max_ps(heads[h], _mm512_setzero_ps());
    heads[h] = _mm512_add_ps(_mm512_setzero_ps(),
                             _mm512_mul_ps(_mm512_set1_ps(query.weights[h]), positive));
  }
  // The tree of 16 lanes: h += h + 8, then h + 4, h + 2, h + 1.
#pragma GCC unroll 4
  for (int half = kHeads / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
    for (int h = 0; h < half; ++h) heads[h] = _mm512_add_ps(heads[h], heads[h + half]);
  }
  out = heads[0];
  return true;
}

/// A power of two of heads, from 4, that holds all with a weight.
inline int heads_in_use(const IndexQueryCodes& query) noexcept {
  int used = 16;
  while (used > 4) {
    for (int h = used / 2; h < used; ++h) {
      if (query.weights[h] != 0) return used;
    }
    used /= 2;
  }
  return used;
}

}  // namespace
}  // namespace lethe::kernels
