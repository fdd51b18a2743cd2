#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/attention_loop.h"
#include "kernels/avx2.h"

// As avx512bf16_attention.cpp, with f32 products: rows are decoded to f32, and what that rounds to
// bf16 is rounded here too.

namespace lethe::kernels {

namespace {

/// f32 to the nearest bf16, kept in f32; NaN stays NaN.
LETHE_INLINE __m256 round_to_bf16(__m256 v) noexcept {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256 rounded = _mm256_castsi256_ps(_mm256_and_si256(up, _mm256_set1_epi32(-65536)));
  return _mm256_blendv_ps(rounded, v, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
}

LETHE_INLINE __m256 e4m3_values(__m128i codes) noexcept {
  const __m128i wide = _mm_cvtepu8_epi16(codes);
  const __m128i magnitude = _mm_and_si128(_mm_slli_epi16(wide, 7), _mm_set1_epi16(0x3f80));
  const __m128i sign =
      _mm_and_si128(_mm_slli_epi16(wide, 8), _mm_set1_epi16(static_cast<int16_t>(0x8000)));
  return _mm256_mul_ps(_mm256_cvtph_ps(_mm_or_si128(magnitude, sign)), _mm256_set1_ps(256));
}
LETHE_INLINE float e4m3_value(uint8_t code) noexcept {
  if ((code & 0x7f) == 0x7f) return __builtin_nanf("");
  return _mm256_cvtss_f32(e4m3_values(_mm_cvtsi32_si128(code)));
}

LETHE_INLINE __m128i load_codes(const uint8_t* p, int64_t count) noexcept {
  if (count >= 8) return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  uint64_t some = 0;
  for (int64_t i = 0; i < count; ++i) some |= uint64_t{p[i]} << 8 * i;
  return _mm_cvtsi64_si128(static_cast<long long>(some));
}

LETHE_INLINE void decode_fp8(const std::byte* row, const KeyLayout& layout, int64_t dim,
                             float* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const int64_t plain = dim - layout.bf16_tail;
  const int64_t groups = (plain + layout.fp8_group - 1) / layout.fp8_group;
  const uint8_t* const scales = codes + plain;
  for (int64_t g = 0; g < groups; ++g) {
    const __m256 scale = _mm256_set1_ps(e8m0_value(scales[g]));
    const int64_t begin = g * layout.fp8_group;
    const int64_t end = begin + layout.fp8_group < plain ? begin + layout.fp8_group : plain;
    for (int64_t i = begin; i < end; i += 8) {
      const __m256 v = _mm256_mul_ps(e4m3_values(load_codes(codes + i, end - i)), scale);
      if (end - i >= 8) {
        _mm256_storeu_ps(out + i, v);
      } else {
        alignas(32) float some[8];
        _mm256_store_ps(some, v);
        __builtin_memcpy(out + i, some, sizeof(float) * static_cast<size_t>(end - i));
      }
    }
  }
  const uint8_t* const tail = scales + groups;
  for (int64_t i = 0; i < layout.bf16_tail; ++i) {
    const uint32_t bits = uint32_t{tail[2 * i]} << 16 | uint32_t{tail[2 * i + 1]} << 24;
    __builtin_memcpy(out + plain + i, &bits, sizeof(bits));
  }
}

LETHE_INLINE void decode_fp4(const std::byte* row, int64_t dim, float* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const uint8_t* const scales = codes + dim / 2;
  const __m128i doubled = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
  for (int64_t g = 0; g < dim / 16; ++g) {
    const __m256 scale = _mm256_set1_ps(0.5F * e4m3_value(scales[g]));
    const __m128i pairs = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + 8 * g));
    const __m128i low = _mm_and_si128(pairs, _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srli_epi16(pairs, 4), _mm_set1_epi8(15));
    const __m128i twice = _mm_shuffle_epi8(doubled, _mm_unpacklo_epi8(low, high));
    const __m256 first = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(twice));
    const __m256 last = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(twice, 8)));
    _mm256_storeu_ps(out + 16 * g, _mm256_mul_ps(first, scale));
    _mm256_storeu_ps(out + 16 * g + 8, _mm256_mul_ps(last, scale));
  }
}

constexpr int64_t kDimsAtOnce = 64;  // of a query's elements: 16 KB for 64 heads

/// Scores of kKeys keys and 32 or 16 heads, over some dims.
template <int kKeys, int kVectors>
LETHE_INLINE void score_tile(const AttentionRoom& room, int64_t head, int64_t key, int64_t begin,
                             int64_t end) noexcept {
  const float* const queries = reinterpret_cast<const float*>(room.queries) + head;
  const float* const keys = reinterpret_cast<const float*>(room.panel) + key * room.dim;
  float* const out = room.scores + key * room.heads + head;
  __m256 sums[kKeys][kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      sums[k][v] = begin == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out + k * room.heads + 8 * v);
    }
  }
  for (int64_t d = begin; d < end; ++d) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const __m256 q = _mm256_loadu_ps(queries + d * room.heads + 8 * v);
#pragma GCC unroll 4
      for (int k = 0; k < kKeys; ++k) {
        const __m256 element = _mm256_broadcast_ss(keys + k * room.dim + d);
        sums[k][v] = _mm256_fmadd_ps(q, element, sums[k][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(out + k * room.heads + 8 * v, sums[k][v]);
    }
  }
}

constexpr int64_t kDimsTogether = 16;  // of values

/// kDimsTogether dims of all keys, one key after the other. Rows are 2 KB apart where they lie, so
/// that the first cache would have room for few of them, and each is read once for 4 heads.
LETHE_INLINE void values_together(const AttentionRoom& room, int64_t dim, float* out) noexcept {
  const float* const values = reinterpret_cast<const float*>(room.values) + dim;
  for (int64_t i = 0; i < room.count; ++i) {
    _mm256_store_ps(out + i * kDimsTogether, _mm256_loadu_ps(values + i * room.dim));
    _mm256_store_ps(out + i * kDimsTogether + 8, _mm256_loadu_ps(values + i * room.dim + 8));
  }
}

/// Adds all keys of the block to 4 heads' sums of 16 dims, of which `values` are the keys'.
LETHE_INLINE void value_tile(const AttentionRoom& room, int64_t head, int64_t dim,
                             const float* values, float* sums) noexcept {
  const float* const weights = reinterpret_cast<const float*>(room.weights) + head;
  float* const out = sums + head * room.dim + dim;
  __m256 acc[4][2];
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
    const __m256 factor = _mm256_set1_ps(room.factor[head + h]);
    acc[h][0] = _mm256_mul_ps(_mm256_loadu_ps(out + h * room.dim), factor);
    acc[h][1] = _mm256_mul_ps(_mm256_loadu_ps(out + h * room.dim + 8), factor);
  }
  for (int64_t i = 0; i < room.count; ++i) {
    const __m256 first = _mm256_load_ps(values + i * kDimsTogether);
    const __m256 last = _mm256_load_ps(values + i * kDimsTogether + 8);
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) {
      const __m256 weight = _mm256_broadcast_ss(weights + i * room.heads + h);
      acc[h][0] = _mm256_fmadd_ps(first, weight, acc[h][0]);
      acc[h][1] = _mm256_fmadd_ps(last, weight, acc[h][1]);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
    _mm256_storeu_ps(out + h * room.dim, acc[h][0]);
    _mm256_storeu_ps(out + h * room.dim + 8, acc[h][1]);
  }
}

struct Avx2 {
  using Vec = __m256;
  static constexpr int64_t kWidth = 8;
  LETHE_INLINE static Vec load(const float* p) noexcept { return _mm256_loadu_ps(p); }
  LETHE_INLINE static void store(float* p, Vec v) noexcept { _mm256_storeu_ps(p, v); }
  LETHE_INLINE static Vec set(float x) noexcept { return _mm256_set1_ps(x); }
  LETHE_INLINE static Vec add(Vec a, Vec b) noexcept { return _mm256_add_ps(a, b); }
  LETHE_INLINE static Vec sub(Vec a, Vec b) noexcept { return _mm256_sub_ps(a, b); }
  LETHE_INLINE static Vec mul(Vec a, Vec b) noexcept { return _mm256_mul_ps(a, b); }
  LETHE_INLINE static Vec fma(Vec a, Vec b, Vec c) noexcept { return _mm256_fmadd_ps(a, b, c); }
  LETHE_INLINE static Vec max(Vec a, Vec b) noexcept { return _mm256_max_ps(a, b); }
  LETHE_INLINE static Vec round(Vec v) noexcept {
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  /// v * 2^n, -126 <= n <= 127.
  LETHE_INLINE static Vec scale(Vec v, Vec n) noexcept {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }
  LETHE_INLINE static Vec zero_if_below(Vec x, float limit, Vec v) noexcept {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, set(limit), _CMP_LT_OQ), v);
  }

  /// [dim][heads]
  LETHE_INLINE static void pack_queries(const AttentionQuery& query,
                                        const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.queries);
    __builtin_memset(out, 0, sizeof(float) * static_cast<size_t>(room.heads * room.dim));
    for (int64_t h = 0; h < query.heads; ++h) {
      const float* const q = query.q + h * query.dim;
      int64_t d = 0;
      for (; d + 8 <= query.dim; d += 8) {
        alignas(32) float rounded[8];
        _mm256_store_ps(rounded, round_to_bf16(_mm256_loadu_ps(q + d)));
        for (int64_t i = 0; i < 8; ++i) out[(d + i) * room.heads + h] = rounded[i];
      }
      for (; d < query.dim; ++d) {
        out[d * room.heads + h] = _mm256_cvtss_f32(round_to_bf16(_mm256_set1_ps(q[d])));
      }
    }
  }

  /// The panel, f32 [keys][dim], padded with zeros; the values are the same.
  LETHE_INLINE static void decode_rows(const AttentionKey* keys, int64_t dim,
                                       AttentionRoom& room) noexcept {
    auto* const panel = reinterpret_cast<float*>(room.panel);
    room.values = room.panel;
    const int64_t padded = (room.count + 3) / 4 * 4;
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
      for (int64_t head = 0; head < room.heads; head += 16) {
        for (int64_t k = 0; k < room.count; k += 4) score_tile<4, 2>(room, head, k, begin, end);
      }
    }
  }

  LETHE_INLINE static void pack_weights(const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.weights);
    for (int64_t i = 0; i < room.count * room.heads; i += 8) {
      _mm256_storeu_ps(out + i, round_to_bf16(_mm256_loadu_ps(room.scores + i)));
    }
  }

  LETHE_INLINE static void add_values(const AttentionRoom& room, float* sums) noexcept {
    alignas(32) float values[kBlock * kDimsTogether];
    for (int64_t d = 0; d < room.dim; d += kDimsTogether) {
      values_together(room, d, values);
      for (int64_t h = 0; h < room.heads; h += 4) value_tile(room, h, d, values, sums);
    }
  }
};

void attend(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
            const AttentionSums& out, std::byte* scratch) noexcept {
  attend_in_blocks<Avx2>(query, keys, count, out, scratch);
}

}  // namespace

void install_avx2_attention(KernelTable& table) noexcept {
  table.attend = attend;
}

}  // namespace lethe::kernels
