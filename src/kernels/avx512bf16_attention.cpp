#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512_attention_lanes.h"
#include "kernels/avx512bf16.h"

// Scores: lanes are heads, a pair of a key's elements is broadcast. Values: lanes are dims, a pair
// of keys' weights is broadcast. Both are vdpbf16ps, which adds two products to an f32 lane and
// takes numbers below 2^-126 for zero.

namespace lethe::kernels {

namespace {

LETHE_INLINE __m512bh as_bf16(__m512i v) noexcept {
  return reinterpret_cast<__m512bh>(v);
}
LETHE_INLINE __m512bh broadcast_pair(const uint32_t* p) noexcept {
  return as_bf16(_mm512_set1_epi32(static_cast<int>(*p)));
}
/// e4m3 codes: through f16, which reads the same fields as 2^-8 of the value.
LETHE_INLINE __m512 e4m3_values(__m128i codes) noexcept {
  const __m256i wide = _mm256_cvtepu8_epi16(codes);
  const __m256i magnitude = _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16(0x3f80));
  const __m256i sign =
      _mm256_and_si256(_mm256_slli_epi16(wide, 8), _mm256_set1_epi16(static_cast<int16_t>(0x8000)));
  return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_or_si256(magnitude, sign)), _mm512_set1_ps(256));
}

/// Values that bf16 holds exactly (but for numbers below its range).
LETHE_INLINE __m256i upper_halves(__m512 v) noexcept {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(v), 16));
}

/// bf16 bits of the 128 positive e4m3 codes (480 for the NaN), their upper and lower bytes.
struct E4m3Table {
  alignas(64) uint8_t upper[128];
  alignas(64) uint8_t lower[128];
};
constexpr E4m3Table make_e4m3_table() noexcept {
  E4m3Table table{};
  for (int code = 0; code < 128; ++code) {
    int exponent = code >> 3;
    int mantissa = code & 7;
    if (exponent == 0) {  // mantissa * 2^-9
      exponent = 1;
      while (mantissa != 0 && mantissa < 8) {
        mantissa *= 2;
        --exponent;
      }
    }
    const int bits = mantissa == 0 && code < 8 ? 0 : (exponent + 120) << 7 | (mantissa & 7) << 4;
    table.upper[code] = static_cast<uint8_t>(bits >> 8);
    table.lower[code] = static_cast<uint8_t>(bits & 255);
  }
  return table;
}
constexpr E4m3Table kE4m3Table = make_e4m3_table();

/// Whether no e4m3 value leaves bf16's normal numbers at this scale.
LETHE_INLINE bool is_moderate(uint8_t scale) noexcept {
  return scale >= 127 - 100 && scale <= 127 + 100;
}

/// bf16 bits times 2^(scale - 127): on the exponent field, but for zeros.
LETHE_INLINE __m512i shift_exponents(__m512i words, uint8_t scale) noexcept {
  const __mmask32 nonzero = _mm512_test_epi16_mask(words, _mm512_set1_epi16(0x7fff));
  const auto delta = static_cast<int16_t>((static_cast<int>(scale) - 127) * 128);
  return _mm512_mask_add_epi16(words, nonzero, words, _mm512_set1_epi16(delta));
}

/// 64 codes, the halves with a scale each, both moderate.
LETHE_INLINE void decode_64(const uint8_t* codes, uint8_t first_scale, uint8_t last_scale,
                            uint16_t* out) noexcept {
  // So that the unpacked halves of the lanes come out in order.
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const __m512i v = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(codes));
  const auto look_up = [&](const uint8_t* table) {
    return _mm512_permutex2var_epi8(_mm512_load_si512(table), v, _mm512_load_si512(table + 64));
  };
  const __m512i sign = _mm512_and_si512(v, _mm512_set1_epi8(static_cast<char>(0x80)));
  const __m512i upper = _mm512_or_si512(look_up(kE4m3Table.upper), sign);
  const __m512i lower = look_up(kE4m3Table.lower);
  _mm512_storeu_si512(out, shift_exponents(_mm512_unpacklo_epi8(lower, upper), first_scale));
  _mm512_storeu_si512(out + 32, shift_exponents(_mm512_unpackhi_epi8(lower, upper), last_scale));
}

LETHE_INLINE void decode_fp8(const std::byte* row, const KeyLayout& layout, int64_t dim,
                             uint16_t* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const int64_t plain = dim - layout.bf16_tail;
  const int64_t groups = (plain + layout.fp8_group - 1) / layout.fp8_group;
  const uint8_t* const scales = codes + plain;
  int64_t wide = 0;  // codes decoded 64 at a time
  if (layout.fp8_group == 32 || layout.fp8_group == 64) {
    for (; wide + 64 <= plain; wide += 64) {
      const uint8_t first = scales[wide / layout.fp8_group];
      const uint8_t last = scales[(wide + 32) / layout.fp8_group];
      if (!is_moderate(first) || !is_moderate(last)) break;
      decode_64(codes + wide, first, last, out + wide);
    }
  }
  for (int64_t g = wide / layout.fp8_group; g < groups; ++g) {
    const __m512 scale = _mm512_set1_ps(e8m0_value(scales[g]));
    const int64_t begin = g * layout.fp8_group;
    const int64_t end = begin + layout.fp8_group < plain ? begin + layout.fp8_group : plain;
    for (int64_t i = begin; i < end; i += 16) {
      const __mmask16 mask = first_lanes(end - i);
      const __m512 v = e4m3_values(_mm_maskz_loadu_epi8(mask, codes + i));
      _mm256_mask_storeu_epi16(out + i, mask, upper_halves(_mm512_mul_ps(v, scale)));
    }
  }
  __builtin_memcpy(out + plain, scales + groups, 2 * static_cast<size_t>(layout.bf16_tail));
}

LETHE_INLINE void decode_fp4(const std::byte* row, int64_t dim, uint16_t* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const uint8_t* const scales = codes + dim / 2;
  const __m512 table = _mm512_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F, -0.0F, -0.5F,
                                      -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F);
  for (int64_t g = 0; g < dim / 16; g += 16) {
    const __mmask16 mask = first_lanes(dim / 16 - g);
    const __m128i bytes = _mm_maskz_loadu_epi8(mask, scales + g);
    const __mmask16 nan =
        _mm_cmpeq_epi8_mask(_mm_and_si128(bytes, _mm_set1_epi8(0x7f)), _mm_set1_epi8(0x7f));
    alignas(64) float values[16];
    _mm512_store_ps(
        values, _mm512_mask_blend_ps(nan, e4m3_values(bytes), _mm512_set1_ps(__builtin_nanf(""))));
    for (int64_t i = g; i < dim / 16 && i < g + 16; ++i) {
      const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * i));
      const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(15));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(15));
      const __m512i index = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high));
      const __m512 v =
          _mm512_mul_ps(_mm512_permutexvar_ps(index, table), _mm512_set1_ps(values[i - g]));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16 * i), upper_halves(v));
    }
  }
}

/// Element d of two rows beside each other, for all d.
LETHE_INLINE void interleave(const uint16_t* first, const uint16_t* second, int64_t dim,
                             uint32_t* out) noexcept {
  for (int64_t d = 0; d < dim; d += 16) {
    const __m512i a =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first + d)));
    const __m512i b =
        _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second + d)));
    _mm512_storeu_si512(out + d, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
  }
}

constexpr int64_t kPairsAtOnce = 64;  // of a query's elements: 16 KB for 64 heads

/// Scores of 4 keys and 16 * kVectors heads, over some pairs of elements.
template <int kVectors>
LETHE_INLINE void score_tile(const AttentionRoom& room, int64_t head, int64_t key, int64_t begin,
                             int64_t end) noexcept {
  const auto* const queries = reinterpret_cast<const uint32_t*>(room.queries) + head;
  const auto* const keys = reinterpret_cast<const uint32_t*>(room.panel) + key * (room.dim / 2);
  float* const out = room.scores + key * room.heads + head;
  __m512 sums[4][kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[k][v] =
          begin == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out + k * room.heads + 16 * v);
    }
  }
  for (int64_t p = begin; p < end; ++p) {
    __m512bh q[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      q[v] = as_bf16(_mm512_loadu_si512(queries + p * room.heads + 16 * v));
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const __m512bh element = broadcast_pair(keys + k * (room.dim / 2) + p);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[k][v] = _mm512_dpbf16_ps(sums[k][v], q[v], element);
      }
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(out + k * room.heads + 16 * v, sums[k][v]);
    }
  }
}

/// Adds all keys of the block to 4 heads' sums of 16 * kVectors dims.
template <int kVectors>
LETHE_INLINE void value_tile(const AttentionRoom& room, int64_t head, int64_t dim,
                             float* sums) noexcept {
  const auto* const weights = reinterpret_cast<const uint32_t*>(room.weights) + head;
  const auto* const values = reinterpret_cast<const uint32_t*>(room.values) + dim;
  float* const out = sums + head * room.dim + dim;
  __m512 acc[4][kVectors];
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
    const __m512 factor = _mm512_set1_ps(room.factor[head + h]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      acc[h][v] = _mm512_mul_ps(_mm512_loadu_ps(out + h * room.dim + 16 * v), factor);
    }
  }
  for (int64_t p = 0; p < (room.count + 1) / 2; ++p) {
    __m512bh value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      value[v] = as_bf16(_mm512_loadu_si512(values + p * room.dim + 16 * v));
    }
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) {
      const __m512bh weight = broadcast_pair(weights + p * room.heads + h);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[h][v] = _mm512_dpbf16_ps(acc[h][v], value[v], weight);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(out + h * room.dim + 16 * v, acc[h][v]);
  }
}

struct Avx512 : Avx512Lanes {
  /// [pair of elements][heads][2]
  LETHE_INLINE static void pack_queries(const AttentionQuery& query,
                                        const AttentionRoom& room) noexcept {
    auto* const rows = reinterpret_cast<uint16_t*>(room.panel);  // [16 heads][dim], for the moment
    auto* const out = reinterpret_cast<uint32_t*>(room.queries);
    const __m512i row_starts =
        _mm512_mullo_epi32(_mm512_set1_epi32(static_cast<int>(room.dim / 2)),
                           _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    for (int64_t head = 0; head < room.heads; head += 16) {
      for (int64_t h = 0; h < 16; ++h) {
        const float* const q = query.q + (head + h) * query.dim;
        for (int64_t d = 0; d < room.dim; d += 16) {
          const int64_t held = head + h < query.heads ? query.dim - d : 0;
          const __m512 v =
              _mm512_maskz_loadu_ps(held > 0 ? first_lanes(held) : __mmask16{0}, q + d);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows + h * room.dim + d),
                              reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
        }
      }
      for (int64_t p = 0; p < room.dim / 2; ++p) {
        const __m512i pair = _mm512_i32gather_epi32(
            row_starts, reinterpret_cast<const uint32_t*>(rows) + p, sizeof(uint32_t));
        _mm512_storeu_si512(out + p * room.heads + head, pair);
      }
    }
  }

  /// The panel, bf16 [keys][dim], and the values, [pair of keys][dim][2]; both padded with zeros.
  LETHE_INLINE static void decode_rows(const AttentionKey* keys, int64_t dim,
                                       const AttentionRoom& room) noexcept {
    auto* const panel = reinterpret_cast<uint16_t*>(room.panel);
    auto* const values = reinterpret_cast<uint32_t*>(room.values);
    const int64_t padded = (room.count + 3) / 4 * 4;
    for (int64_t i = 0; i < padded; ++i) {
      uint16_t* const row = panel + i * room.dim;
      if (i >= room.count || dim < room.dim) {
        __builtin_memset(row, 0, 2 * static_cast<size_t>(room.dim));
      }
      if (i >= room.count) continue;
      if (keys[i].layout->fp4) {
        decode_fp4(keys[i].data, dim, row);
      } else {
        decode_fp8(keys[i].data, *keys[i].layout, dim, row);
      }
    }
    for (int64_t i = 0; i < room.count; i += 2) {
      interleave(panel + i * room.dim, panel + (i + 1) * room.dim, room.dim,
                 values + i / 2 * room.dim);
    }
  }

  LETHE_INLINE static void score(const AttentionRoom& room) noexcept {
    const int64_t pairs = room.dim / 2;
    for (int64_t begin = 0; begin < pairs; begin += kPairsAtOnce) {
      const int64_t end = begin + kPairsAtOnce < pairs ? begin + kPairsAtOnce : pairs;
      int64_t head = 0;
      for (; head + 64 <= room.heads; head += 64) {
        for (int64_t k = 0; k < room.count; k += 4) score_tile<4>(room, head, k, begin, end);
      }
      for (; head + 32 <= room.heads; head += 32) {
        for (int64_t k = 0; k < room.count; k += 4) score_tile<2>(room, head, k, begin, end);
      }
      for (; head < room.heads; head += 16) {
        for (int64_t k = 0; k < room.count; k += 4) score_tile<1>(room, head, k, begin, end);
      }
    }
  }

  /// [pair of keys][heads][2], bf16
  LETHE_INLINE static void pack_weights(const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<uint32_t*>(room.weights);
    for (int64_t i = 0; i < room.count; i += 2) {
      for (int64_t h = 0; h < room.heads; h += 16) {
        const float* const e = room.scores + i * room.heads + h;
        const __m512 next =
            i + 1 < room.count ? _mm512_loadu_ps(e + room.heads) : _mm512_setzero_ps();
        _mm512_storeu_si512(
            out + i / 2 * room.heads + h,
            _mm512_or_si512(words(_mm512_loadu_ps(e)), _mm512_slli_epi32(words(next), 16)));
      }
    }
  }
  LETHE_INLINE static __m512i words(__m512 v) noexcept {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
  }

  LETHE_INLINE static void add_values(const AttentionRoom& room, float* sums) noexcept {
    int64_t d = 0;
    for (; d + 64 <= room.dim; d += 64) {
      for (int64_t h = 0; h < room.heads; h += 4) value_tile<4>(room, h, d, sums);
    }
    for (; d < room.dim; d += 16) {
      for (int64_t h = 0; h < room.heads; h += 4) value_tile<1>(room, h, d, sums);
    }
  }
};

void attend(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
            const AttentionSums& out, std::byte* scratch) noexcept {
  attend_in_blocks<Avx512>(query, keys, count, out, scratch);
}

}  // namespace

void install_avx512bf16_attention(KernelTable& table) noexcept {
  table.attend = attend;
}

}  // namespace lethe::kernels
