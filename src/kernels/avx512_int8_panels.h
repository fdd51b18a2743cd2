#pragma once

#include "kernels/avx512_hot_formats.h"
#include "kernels/tile_dot.h"

// Panels of 16 rows for tiles in integers (avx512_int8_tile.h): a vector lane for each row. Per
// group of 32 columns, 8 vectors whose dword r is 4 codes + kOffset of row r (128, for unsigned
// bytes, or 0), then the scales of the 16 rows (two vectors with kHalfScales), then their minima.
//
// Where scales are powers of two (kPowers) a panel begins with a line that says in its first dword
// how they are written: 0, as 1.5 * 2^23 times the scale, which avx512_int8_tile.h makes use of; 1,
// as they are, if that is past f32 for one of them.

namespace lethe::kernels {
namespace {

constexpr int kGroups = 8;  // of a narrow step
constexpr int64_t kStep = kGroup * kGroups;
constexpr int kCodeVectors = 8;     // of a group
constexpr int64_t kHeadBytes = 64;  // of a panel with kPowers
constexpr int kMostExponent = 231;  // of an e8m0 scale written as 1.5 * 2^23 times half of it

template <typename Narrow>
struct Panel {
  static constexpr int kScales = Narrow::kHalfScales ? 2 : 1;
  static constexpr int kVectors = kCodeVectors + kScales * (Narrow::kMins ? 2 : 1);
  static constexpr int kGroupBytes = 64 * kVectors;
  static constexpr bool kPowers = false;
};
template <>
struct Panel<MXFP4> {
  static constexpr int kScales = 1;
  static constexpr int kVectors = kCodeVectors + 1;
  static constexpr int kGroupBytes = 64 * kVectors;
  static constexpr bool kPowers = true;
};
template <>
struct Panel<Fp4Row> : Panel<MXFP4> {};

// --- any format

template <typename Narrow>
LETHE_AVX512_INLINE Step step_at(const WeightRow& row, int64_t step) noexcept {
  Step s{reinterpret_cast<const uint8_t*>(row.data) + Narrow::kStepBytes * step, nullptr,
         row.scales_f32};
  if constexpr (Narrow::kOwnScales) {
    s.scales = reinterpret_cast<const uint8_t*>(row.scales) +
               (row.scales_f32 ? 4 * kGroups : kGroups) * step;
  }
  return s;
}

/// Signed codes + kOffset.
template <int kOffset>
LETHE_AVX512_INLINE __m512i offset_codes(__m512i codes) noexcept {
  static_assert(kOffset == 0 || kOffset == 128);
  return kOffset == 0 ? codes : _mm512_xor_si512(codes, bytes512(0x80));
}

/// One step of 16 rows: codes + kOffset, two groups to a vector, and scales by row.
struct StepRows {
  __m512i codes[kPanelRows][4];
  alignas(32) float scales[4][kPanelRows][kGroups];  // scales, then minima; of halves or not
};

template <typename Narrow, int kOffset>
LETHE_AVX512_INLINE void unpack_row(const Step& s, int64_t r, StepRows& out) noexcept {
  Widened<Narrow>::codes(s, out.codes[r]);
  if constexpr (kOffset != Widened<Narrow>::kBias) {
#pragma GCC unroll 4
    for (__m512i& codes : out.codes[r]) codes = _mm512_xor_si512(codes, bytes512(0x80));
  }
  StepScales scales;
  Narrow::scales(s, scales);
  constexpr int kScales = Panel<Narrow>::kScales;
#pragma GCC unroll 2
  for (int h = 0; h < kScales; ++h) {
    _mm256_store_ps(out.scales[h][r], scales.scales[h]);
    if constexpr (Narrow::kMins) _mm256_store_ps(out.scales[kScales + h][r], scales.mins[h]);
  }
}

/// The last, partial step of a row with zeros after it.
template <typename Narrow, int kOffset>
void unpack_tail(const WeightRow& row, int64_t step, int64_t groups, int64_t r,
                 StepRows& out) noexcept {
  alignas(32) uint8_t data[Narrow::kStepBytes] = {};
  alignas(32) uint8_t scales[4 * kGroups] = {};
  const Step s = step_at<Narrow>(row, step);
  __builtin_memcpy(data, s.data, static_cast<size_t>(Narrow::kStepBytes * groups / kGroups));
  if constexpr (Narrow::kOwnScales) {
    __builtin_memcpy(scales, s.scales, static_cast<size_t>(groups * (s.scales_f32 ? 4 : 1)));
  }
  unpack_row<Narrow, kOffset>({data, scales, s.scales_f32}, r, out);
}

/// The first `groups` groups of a step, turned so that rows are lanes.
template <typename Narrow>
void store_step(const StepRows& step, int64_t groups, std::byte* panel) noexcept {
  constexpr int kGroupBytes = Panel<Narrow>::kGroupBytes;
  for (int64_t pair = 0; 2 * pair < groups; ++pair) {
    __m512i rows[16];
    __m512i turned[16];
#pragma GCC unroll 16
    for (int r = 0; r < 16; ++r) rows[r] = step.codes[r][pair];
    transpose16(rows, turned);
    std::byte* out = panel + 2 * pair * kGroupBytes;
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) _mm512_store_si512(out + 64 * v, turned[v]);
    if (2 * pair + 1 == groups) break;
    out += kGroupBytes;
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) _mm512_store_si512(out + 64 * v, turned[8 + v]);
  }
  for (int v = 0; v < Panel<Narrow>::kVectors - kCodeVectors; ++v) {
    for (int64_t g = 0; g < groups; ++g) {
      auto* out = reinterpret_cast<float*>(panel + g * kGroupBytes + 64 * (kCodeVectors + v));
      for (int r = 0; r < 16; ++r) out[r] = step.scales[v][r][g];
    }
  }
}

template <typename Narrow, int kOffset>
void pack_any(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  StepRows step;
  if (num_rows < kPanelRows) __builtin_memset(&step, 0, sizeof(step));
  const int64_t steps = n / kStep;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t r = 0; r < num_rows; ++r) {
      unpack_row<Narrow, kOffset>(step_at<Narrow>(rows[r], s), r, step);
    }
    store_step<Narrow>(step, kGroups, panel + s * kGroups * Panel<Narrow>::kGroupBytes);
  }
  const int64_t rest = (n - steps * kStep) / kGroup;
  if (rest != 0) {
    for (int64_t r = 0; r < num_rows; ++r) {
      unpack_tail<Narrow, kOffset>(rows[r], steps, rest, r, step);
    }
    store_step<Narrow>(step, rest, panel + steps * kGroups * Panel<Narrow>::kGroupBytes);
  }
}

// --- the formats that models are mostly made of: 16 whole rows

/// 16 bytes of a group's codes of each of 16 rows, turned.
template <typename Source>
LETHE_AVX512_INLINE void turn_rows(const WeightRow* rows, int64_t group, int64_t offset,
                                   __m512i* out) noexcept {
  turn16([&](int r) { return Source::codes(rows[r], group) + offset; }, out);
}

/// Doubled e2m1 + kOffset of the low nibble of each byte; vpermb ignores what is above it here.
template <int kOffset>
LETHE_AVX512_INLINE __m512i offset_e2m1(__m512i codes) noexcept {
  return offset_codes<kOffset>(
      _mm512_permutexvar_epi8(codes, _mm512_broadcast_i32x4(doubled_e2m1_table())));
}

struct Mxfp4Rows {
  LETHE_AVX512_INLINE static const uint8_t* codes(const WeightRow& row, int64_t group) noexcept {
    return reinterpret_cast<const uint8_t*>(row.data) + 17 * group + 1;
  }
  /// Those of 8 groups, a byte each.
  LETHE_AVX512_INLINE static int64_t exponents(const WeightRow& row, int64_t s) noexcept {
    const uint8_t* blocks = reinterpret_cast<const uint8_t*>(row.data) + 17 * kGroups * s;
    const __m512i at = _mm512_castsi128_si512(_mm_cvtsi64_si128(0x7766554433221100));
    return _mm_cvtsi128_si64(_mm512_castsi512_si128(
        _mm512_permutex2var_epi8(load512(blocks), at, load512(blocks + 64))));
  }
  /// Dword d of the rows' bytes to its two vectors of codes.
  template <int kOffset>
  LETHE_AVX512_INLINE static void unpack(int d, __m512i v, std::byte* group) noexcept {
    _mm512_store_si512(group + 64 * d, offset_e2m1<kOffset>(v));
    _mm512_store_si512(group + 64 * (4 + d), offset_e2m1<kOffset>(_mm512_srli_epi16(v, 4)));
  }
};

struct Fp4Rows {
  LETHE_AVX512_INLINE static const uint8_t* codes(const WeightRow& row, int64_t group) noexcept {
    return reinterpret_cast<const uint8_t*>(row.data) + 16 * group;
  }
  LETHE_AVX512_INLINE static int64_t exponents(const WeightRow& row, int64_t s) noexcept {
    return load<int64_t>(reinterpret_cast<const uint8_t*>(row.scales) + kGroups * s);
  }
  template <int kOffset>
  LETHE_AVX512_INLINE static void unpack(int d, __m512i v, std::byte* group) noexcept {
    // Nibbles 0 .. 3 and 4 .. 7 of each dword, in the order of columns.
    const __m512i first = _mm512_set1_epi64(0x2c2824200c080400);
    const __m512i second = _mm512_set1_epi64(0x3c3834301c181410);
    _mm512_store_si512(group + 64 * (2 * d),
                       offset_e2m1<kOffset>(_mm512_multishift_epi64_epi8(first, v)));
    _mm512_store_si512(group + 64 * (2 * d + 1),
                       offset_e2m1<kOffset>(_mm512_multishift_epi64_epi8(second, v)));
  }
};

/// Exponents of 8 groups of 16 rows, [row][group], to [group][row]; whether one is too large for
/// 1.5 * 2^23 times its scale (or says NaN).
LETHE_AVX512_INLINE bool turn_exponents(const int64_t* by_row, uint8_t (*by_group)[16]) noexcept {
  const __m512i low = load512(by_row);
  const __m512i high = load512(by_row + 8);
  const __m512i rows = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120));
  const __m512i lane = join512(join(_mm_setzero_si128(), _mm_set1_epi8(1)),
                               join(_mm_set1_epi8(2), _mm_set1_epi8(3)));
  const __m512i at = _mm512_add_epi8(rows, lane);
  _mm512_store_si512(by_group, _mm512_permutex2var_epi8(low, at, high));
  _mm512_store_si512(by_group + 4,
                     _mm512_permutex2var_epi8(low, _mm512_add_epi8(at, bytes512(4)), high));
  const __m512i most = bytes512(kMostExponent);
  return (_mm512_cmpgt_epu8_mask(low, most) | _mm512_cmpgt_epu8_mask(high, most)) != 0;
}

/// False if the panel cannot be written so; what is in it then means nothing.
template <typename Source, int kOffset>
bool pack_powers(const WeightRow* rows, int64_t n, std::byte* groups) noexcept {
  constexpr int kGroupBytes = Panel<MXFP4>::kGroupBytes;
  alignas(64) int64_t by_row[kPanelRows];
  alignas(64) uint8_t by_group[kGroups][kPanelRows];
  for (int64_t s = 0; s < n / kStep; ++s) {
    for (int64_t r = 0; r < kPanelRows; ++r) by_row[r] = Source::exponents(rows[r], s);
    if (turn_exponents(by_row, by_group)) return false;
    for (int g = 0; g < kGroups; ++g, groups += kGroupBytes) {
      __m512i turned[4];
      turn_rows<Source>(rows, kGroups * s + g, 0, turned);
#pragma GCC unroll 4
      for (int d = 0; d < 4; ++d) Source::template unpack<kOffset>(d, turned[d], groups);
      // 2^(e - 128) * 1.5 * 2^23.
      const __m512i e = _mm512_cvtepu8_epi32(load128(by_group[g]));
      const __m512i scale =
          _mm512_or_si512(_mm512_slli_epi32(_mm512_add_epi32(e, _mm512_set1_epi32(22)), 23),
                          _mm512_set1_epi32(0x00400000));
      _mm512_store_si512(groups + 64 * kCodeVectors, scale);
    }
  }
  return true;
}

struct Q8Rows {
  LETHE_AVX512_INLINE static const uint8_t* codes(const WeightRow& row, int64_t group) noexcept {
    return reinterpret_cast<const uint8_t*>(row.data) + 34 * group + 2;
  }
};

template <int kOffset>
void pack_q8(const WeightRow* rows, int64_t n, std::byte* groups) noexcept {
  for (int64_t g = 0; g < n / kGroup; ++g, groups += Panel<Q8_0>::kGroupBytes) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512i turned[4];
      turn_rows<Q8Rows>(rows, g, 16 * half, turned);
#pragma GCC unroll 4
      for (int d = 0; d < 4; ++d) {
        _mm512_store_si512(groups + 64 * (4 * half + d), offset_codes<kOffset>(turned[d]));
      }
    }
    alignas(32) uint16_t scales[kPanelRows];
    for (int64_t r = 0; r < kPanelRows; ++r) {
      scales[r] = load<uint16_t>(Q8Rows::codes(rows[r], g) - 2);
    }
    _mm512_store_ps(groups + 64 * kCodeVectors, _mm512_cvtph_ps(load256(scales)));
  }
}

/// `Source` for whole rows of whole steps.
template <typename Narrow, typename Source, int kOffset>
LETHE_AVX512_INLINE void pack_fp4(const WeightRow* rows, int64_t num_rows, int64_t n,
                                  std::byte* panel) noexcept {
  std::byte* groups = panel + kHeadBytes;
  const bool powers = num_rows == kPanelRows && n % kStep == 0 && !rows[0].scales_f32 &&
                      pack_powers<Source, kOffset>(rows, n, groups);
  if (!powers) pack_any<Narrow, kOffset>(rows, num_rows, n, groups);
  const int32_t plain = powers ? 0 : 1;
  __builtin_memcpy(panel, &plain, sizeof(plain));
}

/// Decodes to a panel (PackRows).
template <typename Narrow, int kOffset>
struct Packing {
  static void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
    pack_any<Narrow, kOffset>(rows, num_rows, n, panel);
  }
};
template <int kOffset>
struct Packing<Q8_0, kOffset> {
  static void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
    if (num_rows == kPanelRows) {
      pack_q8<kOffset>(rows, n, panel);
    } else {
      pack_any<Q8_0, kOffset>(rows, num_rows, n, panel);
    }
  }
};
template <int kOffset>
struct Packing<MXFP4, kOffset> {
  static void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
    pack_fp4<MXFP4, Mxfp4Rows, kOffset>(rows, num_rows, n, panel);
  }
};
template <int kOffset>
struct Packing<Fp4Row, kOffset> {
  static void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
    pack_fp4<Fp4Row, Fp4Rows, kOffset>(rows, num_rows, n, panel);
  }
};

}  // namespace
}  // namespace lethe::kernels
