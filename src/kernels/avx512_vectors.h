#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

// Small pieces that the translation units of the AVX-512 set share. Only for those, so all of it is
// in an unnamed namespace and uses no library.

namespace lethe::kernels {
namespace {

#define LETHE_AVX512_INLINE [[gnu::always_inline]] inline

LETHE_AVX512_INLINE __m512i load512(const void* p) noexcept {
  return _mm512_loadu_si512(p);
}
LETHE_AVX512_INLINE __m512i join512(__m256i low, __m256i high) noexcept {
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
LETHE_AVX512_INLINE __m512 join512(__m256 low, __m256 high) noexcept {
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
/// 64 bytes by two loads: see CpuFeatures::narrow_streams.
LETHE_AVX512_INLINE __m512i load512_halves(const void* p) noexcept {
  const auto* const halves = static_cast<const __m256i*>(p);
  return join512(_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1));
}
LETHE_AVX512_INLINE __m512i bytes512(int value) noexcept {
  return _mm512_set1_epi8(static_cast<char>(value));
}
LETHE_AVX512_INLINE __m512i low_nibbles(__m512i v) noexcept {
  return _mm512_and_si512(v, bytes512(15));
}
LETHE_AVX512_INLINE __m512i high_nibbles(__m512i v) noexcept {
  return _mm512_and_si512(_mm512_srli_epi16(v, 4), bytes512(15));
}

/// Rows of 4 dwords (128-bit lanes) added up: lane l, dword i of the result is the sum of the four
/// dwords in lane l of v[i].
LETHE_AVX512_INLINE __m512i sum_quarters(const __m512i* v) noexcept {
  const __m512i a =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b =
      _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

/// The lanes of a sum in the scalar set's tree: l += l + 8, then l + 4, l + 2, l + 1.
LETHE_AVX512_INLINE float sum_lanes(__m512 v) noexcept {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// 16 bytes of each of 16 rows, turned: dword r of out[d] is dword d of row r, whose bytes are at
/// row(r).
template <typename Row>
LETHE_AVX512_INLINE void turn16(Row row, __m512i* out) noexcept {
  __m512i v[4];  // lane l of v[i]: row 4l + i
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto bytes_of = [&](int lane) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row(4 * lane + i)));
    };
    v[i] = _mm512_castsi128_si512(bytes_of(0));
    v[i] = _mm512_mask_broadcast_i32x4(v[i], 0x00f0, bytes_of(1));
    v[i] = _mm512_mask_broadcast_i32x4(v[i], 0x0f00, bytes_of(2));
    v[i] = _mm512_mask_broadcast_i32x4(v[i], 0xf000, bytes_of(3));
  }
  const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]);
  const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]);
  const __m512i high23 = _mm512_unpackhi_epi32(v[2], v[3]);
  out[0] = _mm512_unpacklo_epi64(low01, low23);
  out[1] = _mm512_unpackhi_epi64(low01, low23);
  out[2] = _mm512_unpacklo_epi64(high01, high23);
  out[3] = _mm512_unpackhi_epi64(high01, high23);
}

/// A 16 x 16 matrix of dwords turned: lane j of out[i] was lane i of in[j].
LETHE_AVX512_INLINE void transpose16(const __m512i* in, __m512i* out) noexcept {
  __m512i a[16];
  __m512i b[16];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {  // within 128-bit lanes, rows 4q .. 4q + 3
    const __m512i* v = in + 4 * q;
    const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]);
    const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    a[4 * q + 0] = _mm512_unpacklo_epi64(low01, low23);
    a[4 * q + 1] = _mm512_unpackhi_epi64(low01, low23);
    a[4 * q + 2] = _mm512_unpacklo_epi64(high01, high23);
    a[4 * q + 3] = _mm512_unpackhi_epi64(high01, high23);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // a[4q + i]: lane l holds dword 4l + i of rows 4q ..
    b[4 * i + 0] = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x44);       // lanes 0 1 of q 0, 1
    b[4 * i + 1] = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x44);  // of q 2, 3
    b[4 * i + 2] = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xEE);       // lanes 2 3
    b[4 * i + 3] = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xEE);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[0 + i] = _mm512_shuffle_i32x4(b[4 * i], b[4 * i + 1], 0x88);
    out[4 + i] = _mm512_shuffle_i32x4(b[4 * i], b[4 * i + 1], 0xDD);
    out[8 + i] = _mm512_shuffle_i32x4(b[4 * i + 2], b[4 * i + 3], 0x88);
    out[12 + i] = _mm512_shuffle_i32x4(b[4 * i + 2], b[4 * i + 3], 0xDD);
  }
}

}  // namespace
}  // namespace lethe::kernels
