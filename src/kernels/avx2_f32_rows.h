#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/row_dot.h"

// Rows with one token in f32, whose activations are widened once for all rows; only for translation
// units with wide flags. The 16 lanes of a sum are two vectors, even and odd columns, because that
// is how 16-bit numbers widen without a shuffle. Each lane adds what the scalar set adds, in its
// order, unfused.
//
// A Decoder makes f32 of 32 columns of a row: decode(p, w) sets 4 vectors, the even and the odd
// columns of the first 16, then of the others. valid() tells whether it could, of all of a row.

namespace lethe::kernels {
namespace {

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kStep = 32;     // columns
constexpr int64_t kPart = 4096;   // columns whose activations are widened at a time
constexpr int64_t kAhead = 1024;  // bytes of a row that are asked for before they are read
constexpr int kVectors = kStep / 8;

/// Activations of a part: of each 16 columns the even ones, then the odd ones; zeros after them.
struct Part {
  alignas(32) float x[kPart + kStep];
};

LETHE_AVX2_INLINE __m256i load256(const void* p) noexcept {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
/// 16 bf16: even ones and odd ones.
LETHE_AVX2_INLINE void widen(__m256i bf16, __m256* out) noexcept {
  out[0] = _mm256_castsi256_ps(_mm256_slli_epi32(bf16, 16));
  out[1] = _mm256_castsi256_ps(_mm256_and_si256(bf16, _mm256_set1_epi32(-65536)));
}
LETHE_AVX2_INLINE void store(const __m256* v, float* out) noexcept {
  _mm256_store_ps(out, v[0]);
  _mm256_store_ps(out + 8, v[1]);
}

/// 16 activations at a time to a Part; load16(i, count) reads them.
template <typename Load16>
LETHE_AVX2_INLINE void fill_part(int64_t count, float* out, Load16 load16) noexcept {
  __m256 v[2];
  for (int64_t i = 0; i < count; i += 16) {
    load16(i, count - i < 16 ? count - i : 16, v);
    store(v, out + i);
  }
  v[0] = v[1] = _mm256_setzero_ps();
  for (int64_t i = (count + 15) / 16 * 16; i < (count + kStep - 1) / kStep * kStep; i += 16) {
    store(v, out + i);
  }
}
LETHE_AVX2_INLINE void fill_from_bf16(const uint16_t* x, int64_t count, float* out) noexcept {
  fill_part(count, out, [x](int64_t i, int64_t some, __m256* v) {
    if (some == 16) return widen(load256(x + i), v);
    alignas(32) uint16_t rest[16] = {};
    __builtin_memcpy(rest, x + i, static_cast<size_t>(some) * sizeof(*x));
    widen(load256(rest), v);
  });
}
/// Lanes of a sum: of even columns, of odd ones.
struct Lanes {
  __m256 v[2];
};
LETHE_AVX2_INLINE float halve(__m256 v) noexcept {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
/// In the scalar set's tree: lanes l and l + 8, l and l + 4, l and l + 2, l and l + 1.
LETHE_AVX2_INLINE float reduce(const Lanes& lanes) noexcept {
  return halve(lanes.v[0]) + halve(lanes.v[1]);
}

template <typename Decoder>
LETHE_AVX2_INLINE void add_step(Decoder& decoder, const std::byte* p, const float* x,
                                Lanes& lanes) noexcept {
  __m256 w[kVectors];
  decoder.decode(p, w);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    lanes.v[v % 2] = _mm256_add_ps(lanes.v[v % 2], _mm256_mul_ps(_mm256_load_ps(x + 8 * v), w[v]));
  }
}

/// Sums of rows, kRows of them.
constexpr int64_t kRows = 64;
struct RowSums {
  Lanes lanes[kRows] = {};
  bool valid[kRows];

  RowSums() noexcept {
    for (bool& v : valid) v = true;
  }
};

/// Adds `columns` columns from `begin` on of kStreams rows, `apart` rows from each other.
template <typename Decoder, int kStreams>
LETHE_AVX2_INLINE void add_in_step(const WeightRow* rows, int64_t apart, int64_t begin,
                                   int64_t columns, const float* x, RowSums& sums,
                                   int64_t r) noexcept {
  Decoder decoders[kStreams];
  Lanes lanes[kStreams];
  const std::byte* p[kStreams];
#pragma GCC unroll 4
  for (int k = 0; k < kStreams; ++k) {
    lanes[k] = sums.lanes[r + k * apart];
    p[k] = rows[r + k * apart].data + begin * Decoder::kBytes;
  }
  int64_t i = 0;
  for (; i + kStep <= columns; i += kStep) {
#pragma GCC unroll 4
    for (int k = 0; k < kStreams; ++k) {
      const std::byte* const at = p[k] + i * Decoder::kBytes;
      if constexpr (kStreams < 4) __builtin_prefetch(at + kAhead);  // past the row is the next one
      add_step(decoders[k], at, x + i, lanes[k]);
    }
  }
  if (i < columns) {  // zeros add +0 to their lanes
    for (int k = 0; k < kStreams; ++k) {
      alignas(32) std::byte rest[kStep * Decoder::kBytes] = {};
      __builtin_memcpy(rest, p[k] + i * Decoder::kBytes,
                       static_cast<size_t>((columns - i) * Decoder::kBytes));
      add_step(decoders[k], rest, x + i, lanes[k]);
    }
  }
#pragma GCC unroll 4
  for (int k = 0; k < kStreams; ++k) {
    sums.lanes[r + k * apart] = lanes[k];
    sums.valid[r + k * apart] &= decoders[k].valid();
  }
}

/// The same of `count` <= kRows rows. kStreams of them go in step, so that memory is read in so
/// many places at once; as far from each other as can be, for rows in step that share a page of
/// memory are read at half the speed.
template <typename Decoder, int kStreams>
LETHE_AVX2_INLINE void add_rows(const WeightRow* rows, int64_t count, int64_t begin,
                                int64_t columns, const float* x, RowSums& sums) noexcept {
  const int64_t apart = count / kStreams;
  for (int64_t r = 0; r < apart; ++r) {
    add_in_step<Decoder, kStreams>(rows, apart, begin, columns, x, sums, r);
  }
  for (int64_t r = apart * kStreams; r < count; ++r) {
    add_in_step<Decoder, 1>(rows, 0, begin, columns, x, sums, r);
  }
}

}  // namespace
}  // namespace lethe::kernels
