#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx512.h"
#include "kernels/avx512_attention_lanes.h"
#include "kernels/avx512_e4m3.h"

// As avx2_attention.cpp, whose order of sums it keeps: a lane of the scores is a head and adds the
// products of its elements in order, a lane of the sums is a dim and adds those of the keys. Only
// the tiles are larger: 24 and 16 sums in registers.

namespace lethe::kernels {

namespace {

/// f32 to the nearest bf16, kept in f32; NaN stays NaN.
LETHE_INLINE __m512 round_to_bf16(__m512 v) noexcept {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i rounded = _mm512_and_si512(up, _mm512_set1_epi32(-65536));
  return _mm512_castsi512_ps(
      _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), bits));
}

/// Up to 64 codes with one scale.
LETHE_INLINE void decode_codes(const uint8_t* codes, int64_t count, __m512 scale,
                               float* out) noexcept {
  __m512 values[4];
  if (count >= 64) {
    e4m3_to_f32(load512(codes), values);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) _mm512_storeu_ps(out + 16 * v, _mm512_mul_ps(values[v], scale));
    return;
  }
  e4m3_to_f32(_mm512_maskz_loadu_epi8((uint64_t{1} << count) - 1, codes), values);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    if (count <= 16 * v) break;
    _mm512_mask_storeu_ps(out + 16 * v, first_lanes(count - 16 * v),
                          _mm512_mul_ps(values[v], scale));
  }
}

LETHE_INLINE void decode_fp8(const std::byte* row, const KeyLayout& layout, int64_t dim,
                             float* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const int64_t plain = dim - layout.bf16_tail;
  const int64_t groups = (plain + layout.fp8_group - 1) / layout.fp8_group;
  const uint8_t* const scales = codes + plain;
  for (int64_t g = 0; g < groups; ++g) {
    const __m512 scale = _mm512_set1_ps(e8m0_value(scales[g]));
    const int64_t begin = g * layout.fp8_group;
    const int64_t end = begin + layout.fp8_group < plain ? begin + layout.fp8_group : plain;
    for (int64_t i = begin; i < end; i += 64) decode_codes(codes + i, end - i, scale, out + i);
  }
  const uint8_t* const tail = scales + groups;
  for (int64_t i = 0; i < layout.bf16_tail; i += 16) {
    const __mmask16 mask = first_lanes(layout.bf16_tail - i);
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, tail + 2 * i));
    _mm512_mask_storeu_epi32(out + plain + i, mask, _mm512_slli_epi32(words, 16));
  }
}

LETHE_INLINE void decode_fp4(const std::byte* row, int64_t dim, float* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const uint8_t* const scales = codes + dim / 2;
  const __m512 table = _mm512_setr_ps(0.0F, 0.5F, 1.0F, 1.5F, 2.0F, 3.0F, 4.0F, 6.0F, -0.0F, -0.5F,
                                      -1.0F, -1.5F, -2.0F, -3.0F, -4.0F, -6.0F);
  const int64_t groups = dim / 16;
  for (int64_t begin = 0; begin < groups; begin += 64) {
    const int64_t count = groups - begin < 64 ? groups - begin : 64;
    alignas(64) float some[64];
    decode_codes(scales + begin, count, _mm512_set1_ps(1), some);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t g = begin + i;
      const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * g));
      const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(15));
      const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(15));
      const __m512i index = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high));
      const __m512 values = _mm512_permutexvar_ps(index, table);
      _mm512_storeu_ps(out + 16 * g, _mm512_mul_ps(values, _mm512_set1_ps(some[i])));
    }
  }
}

constexpr int64_t kDimsAtOnce = 64;  // of a query's elements: 16 KB for 64 heads

/// Scores of kKeys keys and 16 * kVectors heads, over some dims.
template <int kKeys, int kVectors>
LETHE_INLINE void score_tile(const AttentionRoom& room, int64_t head, int64_t key, int64_t begin,
                             int64_t end) noexcept {
  const int64_t stride = room.dim;
  const float* const queries = reinterpret_cast<const float*>(room.queries) + head;
  const float* const keys = reinterpret_cast<const float*>(room.panel) + key * stride;
  float* const out = room.scores + key * room.heads + head;
  __m512 sums[kKeys][kVectors];
#pragma GCC unroll 8
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[k][v] =
          begin == 0 ? _mm512_setzero_ps() : _mm512_loadu_ps(out + k * room.heads + 16 * v);
    }
  }
  for (int64_t d = begin; d < end; ++d) {
    __m512 q[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) q[v] = _mm512_loadu_ps(queries + d * room.heads + 16 * v);
#pragma GCC unroll 8
    for (int k = 0; k < kKeys; ++k) {
      const __m512 element = _mm512_set1_ps(keys[k * stride + d]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[k][v] = _mm512_fmadd_ps(q[v], element, sums[k][v]);
    }
  }
#pragma GCC unroll 8
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(out + k * room.heads + 16 * v, sums[k][v]);
    }
  }
}

/// Scores of all keys of the block and 64 heads; the rows past the last are zeros.
LETHE_INLINE void score_64_heads(const AttentionRoom& room, int64_t head, int64_t begin,
                                 int64_t end) noexcept {
  int64_t k = 0;
  for (; k + 4 < room.count; k += 6) score_tile<6, 4>(room, head, k, begin, end);
  if (k < room.count) score_tile<4, 4>(room, head, k, begin, end);
}

/// Adds all keys of the block to kHeads heads' sums of 16 * kVectors dims.
template <int kHeads, int kVectors>
LETHE_INLINE void value_tile(const AttentionRoom& room, int64_t head, int64_t dim,
                             float* sums) noexcept {
  const int64_t stride = room.dim;
  const float* const weights = reinterpret_cast<const float*>(room.weights) + head;
  const float* const values = reinterpret_cast<const float*>(room.panel) + dim;
  float* const out = sums + head * room.dim + dim;
  __m512 acc[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
    const __m512 factor = _mm512_set1_ps(room.factor[head + h]);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      acc[h][v] = _mm512_mul_ps(_mm512_loadu_ps(out + h * room.dim + 16 * v), factor);
    }
  }
  for (int64_t i = 0; i < room.count; ++i) {
    __m512 value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) value[v] = _mm512_loadu_ps(values + i * stride + 16 * v);
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const __m512 weight = _mm512_set1_ps(weights[i * room.heads + h]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[h][v] = _mm512_fmadd_ps(value[v], weight, acc[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(out + h * room.dim + 16 * v, acc[h][v]);
  }
}

struct Avx512 : Avx512Lanes {
  /// [dim][heads]
  LETHE_INLINE static void pack_queries(const AttentionQuery& query,
                                        const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.queries);
    for (int64_t head = 0; head < room.heads; head += 16) {
      for (int64_t d = 0; d < room.dim; d += 16) {
        const __mmask16 mask = first_lanes(query.dim - d > 0 ? query.dim - d : 0);
        __m512i rows[16];
        __m512i columns[16];
        for (int64_t h = 0; h < 16; ++h) {
          const bool held = head + h < query.heads;
          const float* const q = query.q + (held ? (head + h) * query.dim + d : 0);
          const __m512 v = _mm512_maskz_loadu_ps(held ? mask : __mmask16{0}, q);
          rows[h] = _mm512_castps_si512(round_to_bf16(v));
        }
        transpose16(rows, columns);
        for (int64_t i = 0; i < 16; ++i) {
          _mm512_storeu_si512(out + (d + i) * room.heads + head, columns[i]);
        }
      }
    }
  }

  /// The panel, f32 [keys][dim], padded with zeros; the values are the same.
  LETHE_INLINE static void decode_rows(const AttentionKey* keys, int64_t dim,
                                       const AttentionRoom& room) noexcept {
    auto* const panel = reinterpret_cast<float*>(room.panel);
    const int64_t padded = room.count + 7 < kBlock ? room.count + 7 : kBlock;  // to whole tiles
    for (int64_t i = 0; i < padded; ++i) {
      float* const row = panel + i * room.dim;
      if (i >= room.count || dim < room.dim) {
        __builtin_memset(row, 0, sizeof(float) * static_cast<size_t>(room.dim));
      }
      if (i >= room.count) continue;
      if (keys[i].layout->fp4) {
        decode_fp4(keys[i].data, dim, row);
      } else {
        decode_fp8(keys[i].data, *keys[i].layout, dim, row);
      }
    }
  }

  LETHE_INLINE static void score(const AttentionRoom& room) noexcept {
    for (int64_t begin = 0; begin < room.dim; begin += kDimsAtOnce) {
      const int64_t end = begin + kDimsAtOnce < room.dim ? begin + kDimsAtOnce : room.dim;
      int64_t head = 0;
      for (; head + 64 <= room.heads; head += 64) score_64_heads(room, head, begin, end);
      for (; head + 32 <= room.heads; head += 32) {
        for (int64_t k = 0; k < room.count; k += 8) score_tile<8, 2>(room, head, k, begin, end);
      }
      for (; head < room.heads; head += 16) {
        for (int64_t k = 0; k < room.count; k += 8) score_tile<8, 1>(room, head, k, begin, end);
      }
    }
  }

  LETHE_INLINE static void pack_weights(const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.weights);
    for (int64_t i = 0; i < room.count * room.heads; i += 16) {
      _mm512_storeu_ps(out + i, round_to_bf16(_mm512_loadu_ps(room.scores + i)));
    }
  }

  LETHE_INLINE static void add_values(const AttentionRoom& room, float* sums) noexcept {
    int64_t d = 0;
    for (; d + 32 <= room.dim; d += 32) {
      for (int64_t h = 0; h < room.heads; h += 8) value_tile<8, 2>(room, h, d, sums);
    }
    if (d < room.dim) {
      for (int64_t h = 0; h < room.heads; h += 8) value_tile<8, 1>(room, h, d, sums);
    }
  }
};

void attend(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
            const AttentionSums& out, std::byte* scratch) noexcept {
  attend_in_blocks<Avx512>(query, keys, count, out, scratch);
}

}  // namespace

void install_avx512_attention(KernelTable& table) noexcept {
  table.attend = attend;
}

}  // namespace lethe::kernels
