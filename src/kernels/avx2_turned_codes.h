#pragma once

#include "kernels/avx2_steps.h"

// Rows turned to lanes, 8 of them at a time, for avx2_int8_panels.h. The formats that models are
// mostly made of are turned as they are stored and unpacked then: there is less to turn, and the
// codes come out as a panel has them. Only for translation units with wide flags.

namespace lethe::kernels {
namespace {

constexpr int kRowHalves = 2;  // vectors of rows
constexpr int kHalfRows = 8;
constexpr int kCodeVectors = 8;  // of a group and a row half, 4 columns each

LETHE_AVX2_INLINE void store_aligned(std::byte* p, __m256i v) noexcept {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
}

/// 16 bytes at `at(r)` of each of 8 rows, turned: lane r of out[d] is dword d of row r.
template <typename At>
LETHE_AVX2_INLINE void turn16(const At& at, __m256i* out) noexcept {
  __m256i rows[4];  // r and r + 4
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) rows[r] = join(load128(at(r)), load128(at(r + 4)));
  const __m256i low01 = _mm256_unpacklo_epi32(rows[0], rows[1]);
  const __m256i high01 = _mm256_unpackhi_epi32(rows[0], rows[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(rows[2], rows[3]);
  const __m256i high23 = _mm256_unpackhi_epi32(rows[2], rows[3]);
  out[0] = _mm256_unpacklo_epi64(low01, low23);
  out[1] = _mm256_unpackhi_epi64(low01, low23);
  out[2] = _mm256_unpacklo_epi64(high01, high23);
  out[3] = _mm256_unpackhi_epi64(high01, high23);
}
/// The same with 32 bytes.
template <typename At>
LETHE_AVX2_INLINE void turn32(const At& at, __m256i* out) noexcept {
  turn16(at, out);
  turn16([&](int r) { return at(r) + 16; }, out + 4);
}

LETHE_AVX2_INLINE const uint8_t* row_bytes(const WeightRow& row) noexcept {
  return reinterpret_cast<const uint8_t*>(row.data);
}

/// codes<Products>(rows, step, out): stores the codes of 8 rows in a step, `out` their place in its
/// first group.
template <typename Format>
struct Turned {
  static constexpr bool kHas = false;
};

/// Blocks of 16 bytes of nibbles after a header, of which kUnpack makes 8 vectors of codes.
template <int kBlock, int kHeader, void (*kUnpack)(const __m256i*, __m256i*) noexcept>
struct TurnedNibbles {
  static constexpr bool kHas = true;
  template <typename Products, int kGroupBytes>
  static void codes(const WeightRow* rows, int64_t step, std::byte* out) noexcept {
    for (int64_t g = kGroups * step; g < kGroups * (step + 1); ++g, out += kGroupBytes) {
      __m256i packed[4];
      __m256i codes[kCodeVectors];
      turn16([&](int r) { return row_bytes(rows[r]) + kBlock * g + kHeader; }, packed);
      kUnpack(packed, codes);
      Products::store(codes, out);
    }
  }
};
/// First the low nibbles, then the high ones.
template <__m256i (*kCode)(__m256i) noexcept>
LETHE_AVX2_INLINE void low_then_high(const __m256i* packed, __m256i* codes) noexcept {
#pragma GCC unroll 4
  for (int d = 0; d < 4; ++d) {
    codes[d] = kCode(bits<0>(packed[d], 15));
    codes[4 + d] = kCode(bits<4>(packed[d], 15));
  }
}
LETHE_AVX2_INLINE __m256i doubled_e2m1(__m256i nibbles) noexcept {
  return look_up(doubled_e2m1_table(), nibbles);
}
LETHE_AVX2_INLINE __m256i iq4nl(__m256i nibbles) noexcept {
  return look_up(iq4nl_table(), nibbles);
}
LETHE_AVX2_INLINE __m256i less_8(__m256i nibbles) noexcept {
  return _mm256_sub_epi8(nibbles, bytes(8));
}
/// e2m1, low and high ones in turn.
LETHE_AVX2_INLINE void low_and_high(const __m256i* packed, __m256i* codes) noexcept {
#pragma GCC unroll 4
  for (int d = 0; d < 4; ++d) {
    const __m256i even = bits<0>(packed[d], 15);
    const __m256i odd = bits<4>(packed[d], 15);
    // Two dwords of codes of each of two rows; then each of four rows.
    const __m256 first = _mm256_castsi256_ps(_mm256_unpacklo_epi8(even, odd));
    const __m256 second = _mm256_castsi256_ps(_mm256_unpackhi_epi8(even, odd));
    codes[2 * d] = doubled_e2m1(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0x88)));
    codes[2 * d + 1] = doubled_e2m1(_mm256_castps_si256(_mm256_shuffle_ps(first, second, 0xDD)));
  }
}
template <>
struct Turned<MXFP4> : TurnedNibbles<17, 1, low_then_high<doubled_e2m1>> {};
template <>
struct Turned<Q4_0> : TurnedNibbles<18, 2, low_then_high<less_8>> {};
template <>
struct Turned<Q4_1> : TurnedNibbles<20, 4, low_then_high<as_it_is>> {};
template <>
struct Turned<IQ4_NL> : TurnedNibbles<18, 2, low_then_high<iq4nl>> {};
template <>
struct Turned<Fp4Row> : TurnedNibbles<16, 0, low_and_high> {};

template <>
struct Turned<Q8_0> {
  static constexpr bool kHas = true;
  template <typename Products, int kGroupBytes>
  static void codes(const WeightRow* rows, int64_t step, std::byte* out) noexcept {
    for (int64_t g = kGroups * step; g < kGroups * (step + 1); ++g, out += kGroupBytes) {
      __m256i codes[kCodeVectors];
      turn32([&](int r) { return row_bytes(rows[r]) + 34 * g + 2; }, codes);
      Products::store(codes, out);
    }
  }
};

/// Formats that unpack kVectors vectors of 32 bytes, from byte kFirst of a step on, byte by byte:
/// these vectors are turned, so that dword d of 8 rows takes the place of a row.
template <typename Format, int kFirst, int kVectors>
struct TurnedVectors {
  static constexpr bool kHas = true;
  static constexpr int kLead = 32;  // more than kFirst

  template <typename Products, int kGroupBytes>
  static void codes(const WeightRow* rows, int64_t step, std::byte* out) noexcept {
    alignas(32) uint8_t columns[kLead + kCodeVectors * 32 * kVectors];
    for (int v = 0; v < kVectors; ++v) {
      __m256i turned[kCodeVectors];
      turn32(
          [&](int r) { return row_bytes(rows[r]) + Format::kStepBytes * step + kFirst + 32 * v; },
          turned);
#pragma GCC unroll 8
      for (int d = 0; d < kCodeVectors; ++d) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns + kLead + 32 * (kVectors * d + v)),
                           turned[d]);
      }
    }
    put<Products, kGroupBytes, 0>(columns, out);
    put<Products, kGroupBytes, 1>(columns, out + 2 * kGroupBytes);
    put<Products, kGroupBytes, 2>(columns, out + 4 * kGroupBytes);
    put<Products, kGroupBytes, 3>(columns, out + 6 * kGroupBytes);
  }

  template <typename Products, int kGroupBytes, int p>
  LETHE_AVX2_INLINE static void put(const uint8_t* columns, std::byte* out) noexcept {
    __m256i a[kCodeVectors];
    __m256i b[kCodeVectors];
#pragma GCC unroll 8
    for (int d = 0; d < kCodeVectors; ++d) {
      const uint8_t* step = columns + kLead + 32 * kVectors * d - kFirst;
      Format::template pair<p>({step, nullptr, false}, a[d], b[d]);
    }
    Products::store(a, out);
    Products::store(b, out + kGroupBytes);
  }
};
template <>
struct Turned<Q2_K> : TurnedVectors<Q2_K, 16, 2> {};
template <>
struct Turned<Q3_K> : TurnedVectors<Q3_K, 0, 3> {};
template <>
struct Turned<Q4_K> : TurnedVectors<Q4_K, 16, 4> {};
template <>
struct Turned<Q5_K> : TurnedVectors<Q5_K, 16, 5> {};
template <>
struct Turned<Q6_K> : TurnedVectors<Q6_K, 0, 6> {};

}  // namespace
}  // namespace lethe::kernels
