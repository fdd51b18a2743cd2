#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512.h"
#include "kernels/avx512_few_head_scores.h"
#include "kernels/index_scores.h"

// Lanes are heads: a quad of key codes is broadcast to all of them, and a vector of the query's
// codes serves four keys. In general the unsigned operand of the dot instruction is the key's,
// offset by 12; what that adds is in the sums from the start (IndexQueryCodes::biases).
//
// Keys of 128 dims, the models', have four scales, which seldom lie far apart. Where the largest is
// at most 8 times the smallest, codes are multiplied by what their scale is of the smallest, 1, 2,
// 4 or 8, and one integer sum goes through all groups: less than 2^21 in magnitude, so the f32 sum
// of the four groups would have been exact as well, and the bits are the same. There the query's
// codes are the unsigned ones, offset by 128, because what that adds is the same for all heads.
//
// Queries of at most 16 heads have keys as lanes (avx512_few_head_scores.h).

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

LETHE_INLINE void decode(const uint8_t* bytes, int64_t dim, uint8_t* codes,
                         float* scales) noexcept {
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

constexpr int64_t kNearDim = 128;
constexpr int64_t kNearHeads = 128;  // at most

/// Groups of near keys that are decoded before the first is used: what was just stored as vectors
/// cannot be read as dwords at once.
constexpr int64_t kGroups = 8;

/// Four keys of 128 dims whose scales lie near each other.
struct NearKeys {
  alignas(64) int8_t codes[kKeys][kNearDim];  // in smallest scales; quads as the query's
  alignas(16) int32_t biases[kKeys];          // -128 * sum of a key's codes
  alignas(16) float scales[kKeys];            // the smallest of each
};

/// Twice the e2m1 values times 1, 2, 4 and 8.
alignas(64) constexpr int8_t kShiftedCodes[4][16] = {
    {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12},
    {0, 2, 4, 6, 8, 12, 16, 24, 0, -2, -4, -6, -8, -12, -16, -24},
    {0, 4, 8, 12, 16, 24, 32, 48, 0, -4, -8, -12, -16, -24, -32, -48},
    {0, 8, 16, 24, 32, 48, 64, 96, 0, -8, -16, -24, -32, -48, -64, -96}};

/// The four sums of a group of lanes in each of four vectors.
LETHE_INLINE __m128i sum_dwords(const __m512i* v) noexcept {
  const __m512i a =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  const __m256i d = _mm256_add_epi32(_mm512_castsi512_si256(c), _mm512_extracti64x4_epi64(c, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(d), _mm256_extracti128_si256(d, 1));
}

/// Whether the four keys are near ones; decoded, if so.
LETHE_INLINE bool decode_near(const uint8_t* const* rows, NearKeys& keys) noexcept {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  const __m512i dwords = _mm512_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  const __m512i tables = _mm512_load_si512(kShiftedCodes);
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i sums[kKeys];
  __m128i least[kKeys];  // scale, in all dwords
  __m128i far = _mm_setzero_si128();
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
    const __m128i scales =
        _mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(load32(rows[k] + kNearDim / 2))));
    const __m128i two = _mm_min_epu32(scales, _mm_shuffle_epi32(scales, 0x4E));
    least[k] = _mm_min_epu32(two, _mm_shuffle_epi32(two, 0xB1));
    const __m128i shift = _mm_sub_epi32(scales, least[k]);
    far = _mm_or_si128(far, _mm_srli_epi32(shift, 2));
    // 2^-127 and the far end, where sums may overflow, are not for here either.
    far = _mm_or_si128(far, _mm_cmpeq_epi32(least[k], _mm_setzero_si128()));
    far = _mm_or_si128(far, _mm_cmpgt_epi32(scales, _mm_set1_epi32(220)));
    const __m512i of_lane = _mm512_permutexvar_epi32(lanes, _mm512_castsi128_si512(shift));
    const __m512i table =
        _mm512_permutexvar_epi32(_mm512_add_epi32(_mm512_slli_epi32(of_lane, 2), dwords), tables);
    const __m512i v = _mm512_loadu_si512(rows[k]);
    const __m512i low = _mm512_shuffle_epi8(table, _mm512_and_si512(v, mask));
    const __m512i high =
        _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), mask));
    // A lane of each is a group.
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i last = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_store_si512(keys.codes[k], _mm512_permutex2var_epi64(low, first, high));
    _mm512_store_si512(keys.codes[k] + kNearDim / 2, _mm512_permutex2var_epi64(low, last, high));
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(128));
    sums[k] =
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), offset, low), offset, high);
  }
  const __m128i scales = _mm_unpacklo_epi64(_mm_unpacklo_epi32(least[0], least[1]),
                                            _mm_unpacklo_epi32(least[2], least[3]));
  _mm_store_ps(keys.scales, _mm_castsi128_ps(_mm_slli_epi32(scales, 23)));
  _mm_store_si128(reinterpret_cast<__m128i*>(keys.biases),
                  _mm_sub_epi32(_mm_setzero_si128(), sum_dwords(sums)));
  return _mm_testz_si128(far, far) != 0;
}

/// As add_heads, of near keys. codes: the query's, offset by 128.
template <int kVectors>
LETHE_INLINE void add_near_heads(const IndexQueryCodes& query, const uint8_t* codes, int64_t first,
                                 const NearKeys& keys, __m512* lanes) noexcept {
  const uint8_t* const of_vector = codes + first * 16 * kNearDim;
  __m512i sums[kKeys][kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[k][v] = _mm512_set1_epi32(keys.biases[k]);
  }
#pragma GCC unroll 4
  for (int64_t quad = 0; quad < kNearDim / 4; ++quad) {
    __m512i q[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      q[v] = _mm512_load_si512(of_vector + v * 16 * kNearDim + quad * 64);
    }
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const auto* const codes_of_key = reinterpret_cast<const uint8_t*>(keys.codes[k]);
      const __m512i key = _mm512_set1_epi32(static_cast<int>(load32(codes_of_key + 4 * quad)));
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[k][v] = _mm512_dpbusd_epi32(sums[k][v], q[v], key);
        asm("" : "+v"(sums[k][v]));  // in its register: GCC 12 moves all of them around
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const __m512 weights = _mm512_loadu_ps(query.weights + (first + v) * 16);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const __m512 dot =
          _mm512_mul_ps(_mm512_cvtepi32_ps(sums[k][v]), _mm512_set1_ps(keys.scales[k]));
      const __m512 positive = _mm512_max_ps(dot, _mm512_setzero_ps());
      lanes[k] = _mm512_add_ps(lanes[k], _mm512_mul_ps(weights, positive));
    }
  }
}

/// By itself: with the constants of decoding beside it, registers do not suffice.
[[gnu::noinline]] __m128 scores_of_near(const IndexQueryCodes& query, const uint8_t* codes,
                                        const NearKeys& keys) noexcept {
  const int64_t vectors = query.heads / kIndexHeadLanes;
  __m512 lanes[kKeys];
  for (int k = 0; k < kKeys; ++k) lanes[k] = _mm512_setzero_ps();
  int64_t v = 0;
  for (; v + 4 <= vectors; v += 4) add_near_heads<4>(query, codes, v, keys, lanes);
  for (; v < vectors; ++v) add_near_heads<1>(query, codes, v, keys, lanes);
  return reduce_four(lanes);
}

/// The query's codes as near keys want them.
struct OffsetCodes {
  alignas(64) uint8_t bytes[kNearHeads * kNearDim];

  LETHE_INLINE explicit OffsetCodes(const IndexQueryCodes& query) noexcept {
    for (int64_t i = 0; i < query.heads * kNearDim; i += 64) {
      const __m512i v = _mm512_loadu_si512(query.codes + i);
      _mm512_store_si512(bytes + i, _mm512_xor_si512(v, _mm512_set1_epi8(static_cast<char>(128))));
    }
  }
};

/// The rows of keys j .. j + 3; the last is repeated, where fewer are left.
LETHE_INLINE void rows_from(const std::byte* keys, int64_t stride, int64_t j, int64_t count,
                            const uint8_t** rows) noexcept {
  const int64_t last = count - 1 - j;
  for (int64_t k = 0; k < kKeys; ++k) {
    rows[k] = reinterpret_cast<const uint8_t*>(keys + (j + (k < last ? k : last)) * stride);
  }
}

LETHE_INLINE __m128 scores_of_rows(const IndexQueryCodes& query,
                                   const uint8_t* const* rows) noexcept {
  DecodedKeys decoded;
  for (int64_t k = 0; k < kKeys; ++k) {
    decode(rows[k], query.dim, decoded.codes[k], decoded.scales[k]);
  }
  return scores_of(query, decoded);
}

LETHE_INLINE void store_scores(__m128 scores, int64_t count, float* out) noexcept {
  if (count >= kKeys) {
    _mm_storeu_ps(out, scores);
  } else {
    _mm_mask_storeu_ps(out, static_cast<__mmask8>((1u << count) - 1), scores);
  }
}

/// Keys one after the other, four at once.
void scores_of_any(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                   int64_t count, float* out) noexcept {
  const uint8_t* rows[kKeys];
  for (int64_t j = 0; j < count; j += kKeys) {
    rows_from(keys, stride, j, count, rows);
    store_scores(scores_of_rows(query, rows), count - j, out + j);
  }
}

/// 16 keys at once, where their scales allow it.
template <int kHeads>
void scores_of_few(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                   int64_t count, float* out) noexcept {
  int64_t j = 0;
  for (; j + kLaneKeys <= count; j += kLaneKeys) {
    const uint8_t* rows[kLaneKeys];
    for (int64_t k = 0; k < kLaneKeys; ++k) {
      rows[k] = reinterpret_cast<const uint8_t*>(keys + (j + k) * stride);
    }
    __m512 scores;
    if (lane_scores<kHeads>(query, rows, scores)) {
      _mm512_storeu_ps(out + j, scores);
    } else {
      scores_of_any(query, keys + j * stride, stride, kLaneKeys, out + j);
    }
  }
  scores_of_any(query, keys + j * stride, stride, count - j, out + j);
}

void scores_of_few(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                   int64_t count, float* out) noexcept {
  switch (heads_in_use(query)) {
    case 4:
      return scores_of_few<4>(query, keys, stride, count, out);
    case 8:
      return scores_of_few<8>(query, keys, stride, count, out);
    default:
      return scores_of_few<16>(query, keys, stride, count, out);
  }
}

void index_scores(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                  int64_t count, float* out) noexcept {
  if (query.heads == kIndexHeadLanes) return scores_of_few(query, keys, stride, count, out);
  if (query.dim != kNearDim || query.heads > kNearHeads) {
    return scores_of_any(query, keys, stride, count, out);
  }
  const uint8_t* rows[kKeys];
  const OffsetCodes codes(query);
  NearKeys near[kGroups];
  bool are_near[kGroups];
  for (int64_t begin = 0; begin < count; begin += kGroups * kKeys) {
    const int64_t end = begin + kGroups * kKeys < count ? begin + kGroups * kKeys : count;
    for (int64_t j = begin; j < end; j += kKeys) {
      const int64_t g = (j - begin) / kKeys;
      rows_from(keys, stride, j, count, rows);
      are_near[g] = decode_near(rows, near[g]);
    }
    for (int64_t j = begin; j < end; j += kKeys) {
      const int64_t g = (j - begin) / kKeys;
      rows_from(keys, stride, j, count, rows);
      store_scores(
          are_near[g] ? scores_of_near(query, codes.bytes, near[g]) : scores_of_rows(query, rows),
          count - j, out + j);
    }
  }
}

}  // namespace

void install_avx512_index_scores(KernelTable& table) noexcept {
  table.index_scores = index_scores;
}

}  // namespace lethe::kernels
