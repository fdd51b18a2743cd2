#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2.h"
#include "kernels/index_scores.h"

// Lanes are heads, 8 to a vector, as in avx512_index_scores.cpp. A product of key (at most 24) and
// query (at most 127), two of them added: four such pairs fit 16 bits.

namespace lethe::kernels {

namespace {

#define LETHE_INLINE [[gnu::always_inline]] inline

constexpr int kKeys = 4;  // that pass the query together

struct DecodedKeys {
  alignas(32) uint8_t codes[kKeys][kMaxIndexDim];  // low nibbles of the row, then high ones
  float scales[kKeys][kMaxIndexDim / kIndexGroup];
};

LETHE_INLINE uint32_t load32(const uint8_t* p) noexcept {
  uint32_t value;
  __builtin_memcpy(&value, p, sizeof(value));
  return value;
}

LETHE_INLINE float scale_of(uint8_t code) noexcept {
  const uint32_t quiet = code == 0 || code == 255 ? 0x00400000u : 0u;
  const uint32_t bits = uint32_t{code} << 23 | quiet;
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

LETHE_INLINE void decode(const std::byte* key, int64_t dim, uint8_t* codes,
                         float* scales) noexcept {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(key);
  const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
  const __m128i mask = _mm_set1_epi8(15);
  const int64_t half = dim / 2;
  for (int64_t b = 0; b < half; b += 16) {
    const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + b));
    const __m128i low = _mm_and_si128(v, mask);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), mask);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + b), _mm_shuffle_epi8(table, low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + half + b), _mm_shuffle_epi8(table, high));
  }
  for (int64_t g = 0; g < dim / kIndexGroup; ++g) scales[g] = scale_of(bytes[half + g]);
}

/// Products of four quads of each key with the codes at q (64 bytes from quad to quad), added to
/// sums: heads in 32-bit lanes.
LETHE_INLINE void add_quads(const int8_t* q, const DecodedKeys& keys, int64_t at,
                            __m256i* sums) noexcept {
  __m256i pairs[kKeys];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + 64 * i));
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const __m256i key = _mm256_set1_epi32(static_cast<int>(load32(keys.codes[k] + at + 4 * i)));
      const __m256i products = _mm256_maddubs_epi16(key, codes);
      pairs[k] = i == 0 ? products : _mm256_add_epi16(pairs[k], products);
      asm("" : "+x"(pairs[k]));  // a sum, which GCC would put off until the registers are full
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
    sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs[k], _mm256_set1_epi16(1)));
  }
}

/// Adds 8 heads from `head` on to eight lanes of each key.
LETHE_INLINE void add_heads(const IndexQueryCodes& query, int64_t head, const DecodedKeys& keys,
                            __m256* lanes) noexcept {
  const int64_t groups = query.dim / kIndexGroup;
  const int64_t vector = head / kIndexHeadLanes;
  const int64_t upper = head % kIndexHeadLanes;  // 0 or 8
  __m256 dots[kKeys];
  for (int k = 0; k < kKeys; ++k) dots[k] = _mm256_setzero_ps();
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = vector * groups + g;
    const int8_t* const codes = query.codes + at * 8 * 64 + 4 * upper;
    const __m256i bias = _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(query.biases + at * kIndexHeadLanes + upper));
    __m256i sums[kKeys];
    for (int k = 0; k < kKeys; ++k) sums[k] = bias;
    add_quads(codes, keys, g * 16, sums);
    add_quads(codes + 4 * 64, keys, query.dim / 2 + g * 16, sums);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      // The product is exact (a power of two), so fusing does not show.
      dots[k] =
          _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[k]), _mm256_set1_ps(keys.scales[k][g]), dots[k]);
    }
  }
  const __m256 weights = _mm256_loadu_ps(query.weights + head);
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
    const __m256 positive = _mm256_max_ps(dots[k], _mm256_setzero_ps());
    lanes[k] = _mm256_add_ps(lanes[k], _mm256_mul_ps(weights, positive));
  }
}

LETHE_INLINE float reduce(__m256 first, __m256 last) noexcept {
  const __m256 eight = _mm256_add_ps(first, last);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
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
    __m256 lanes[2][kKeys];
    for (int k = 0; k < kKeys; ++k) lanes[0][k] = lanes[1][k] = _mm256_setzero_ps();
    for (int64_t head = 0; head < query.heads; head += kIndexHeadLanes) {
      add_heads(query, head, decoded, lanes[0]);
      add_heads(query, head + 8, decoded, lanes[1]);
    }
    for (int64_t k = 0; k < kKeys && k <= last; ++k) out[j + k] = reduce(lanes[0][k], lanes[1][k]);
  }
}

}  // namespace

void install_avx2_index_scores(KernelTable& table) noexcept {
  table.index_scores = index_scores;
}

}  // namespace lethe::kernels
