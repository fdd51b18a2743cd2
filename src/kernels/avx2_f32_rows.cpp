#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2.h"
#include "kernels/plain_scales.h"

// Rows of BF16 and FP8 with one token, whose activations are widened to f32 once for all rows. The
// 16 lanes of a sum are two vectors, even and odd columns, because that is how 16-bit numbers widen
// without a shuffle. Each lane adds what the scalar set adds, in its order, unfused. Rows go one by
// one, as they lie in memory.

namespace lethe::kernels {

namespace {

using quant::Encoding;

#define LETHE_AVX2_INLINE [[gnu::always_inline]] inline

constexpr int64_t kStep = 32;     // columns
constexpr int64_t kPart = 4096;   // columns whose activations are widened at a time
constexpr int64_t kAhead = 1024;  // bytes of a row that are asked for before they are read
constexpr int kVectors = kStep / 8;

/// Activations of a part: of each 16 columns the even ones, then the odd ones; zeros after them.
struct Part {
  alignas(32) float x[kPart + kStep];
  alignas(32) float scaled[kPart + kStep];
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
void fill_from_bf16(const uint16_t* x, int64_t count, float* out) noexcept {
  fill_part(count, out, [x](int64_t i, int64_t some, __m256* v) {
    if (some == 16) return widen(load256(x + i), v);
    alignas(32) uint16_t rest[16] = {};
    __builtin_memcpy(rest, x + i, static_cast<size_t>(some) * sizeof(*x));
    widen(load256(rest), v);
  });
}
LETHE_AVX2_INLINE void split_parities(const float* x, __m256* out) noexcept {
  const __m256 low = _mm256_loadu_ps(x);
  const __m256 high = _mm256_loadu_ps(x + 8);
  const auto in_order = [](__m256 v) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xD8));
  };
  out[0] = in_order(_mm256_shuffle_ps(low, high, 0x88));
  out[1] = in_order(_mm256_shuffle_ps(low, high, 0xDD));
}
void fill_from_f32(const float* x, int64_t count, float* out) noexcept {
  fill_part(count, out, [x](int64_t i, int64_t some, __m256* v) {
    if (some == 16) return split_parities(x + i, v);
    alignas(32) float rest[16] = {};
    __builtin_memcpy(rest, x + i, static_cast<size_t>(some) * sizeof(*x));
    split_parities(rest, v);
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

// Decoders: decode(p, w) makes of 32 columns 4 vectors: even and odd ones of 16, then of the
// others.

struct Bf16 {
  static constexpr int64_t kBytes = 2;
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* w) noexcept {
    widen(load256(p), w);
    widen(load256(p + 32), w + 2);
  }
  static bool valid() noexcept { return true; }
};

/// e4m3 without scales, 2^-8 of its values: as f16 the same fields mean that. NaN, which would need
/// another exponent, is noted.
struct E4m3 {
  static constexpr int64_t kBytes = 1;
  __m256i nan = _mm256_setzero_si256();

  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* w) noexcept {
    const __m256i codes = load256(p);
    const __m256i magnitude = _mm256_set1_epi8(0x7f);
    nan = _mm256_or_si256(nan, _mm256_cmpeq_epi8(_mm256_and_si256(codes, magnitude), magnitude));
    const __m256i fields = _mm256_set1_epi16(static_cast<int16_t>(0xbf80));
    const __m256i even =
        _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 1), fields);
    const __m256i odd = _mm256_and_si256(_mm256_srai_epi16(codes, 1), fields);
    w[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(even));
    w[1] = _mm256_cvtph_ps(_mm256_castsi256_si128(odd));
    w[2] = _mm256_cvtph_ps(_mm256_extracti128_si256(even, 1));
    w[3] = _mm256_cvtph_ps(_mm256_extracti128_si256(odd, 1));
  }
  bool valid() const noexcept { return _mm256_testz_si256(nan, nan) != 0; }
};

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

/// Adds `count` columns from p on. False, and nothing of worth in the lanes, if the decoder could
/// not read them.
template <typename Decoder>
LETHE_AVX2_INLINE bool add_columns(const std::byte* p, int64_t count, const float* x,
                                   Lanes& sums) noexcept {
  Decoder decoder;
  Lanes lanes = sums;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep, p += kStep * Decoder::kBytes) {
    __builtin_prefetch(p + kAhead);  // past the row is the next one
    add_step(decoder, p, x + i, lanes);
  }
  if (i < count) {  // zeros add +0 to their lanes
    alignas(32) std::byte rest[kStep * Decoder::kBytes] = {};
    __builtin_memcpy(rest, p, static_cast<size_t>((count - i) * Decoder::kBytes));
    add_step(decoder, rest, x + i, lanes);
  }
  sums = lanes;
  return decoder.valid();
}

constexpr int64_t kRowsTogether = 64;
constexpr int kRowsInStep = 4;

/// Whether kRowsInStep rows are far enough from each other: in step, those that share a page of
/// memory are read at half the speed, others faster than one by one, and nothing need be asked for.
bool apart(const WeightRow* rows) noexcept {
  constexpr int64_t kPage = 4096;
  const int64_t stride = rows[1].data - rows[0].data;
  return stride > kPage || stride < -kPage;
}

/// Adds `count` columns, whole steps, of kRowsInStep rows of bf16.
LETHE_AVX2_INLINE void add_in_step(const WeightRow* rows, int64_t begin, int64_t count,
                                   const float* x, Lanes* sums) noexcept {
  Lanes lanes[kRowsInStep];
#pragma GCC unroll 4
  for (int r = 0; r < kRowsInStep; ++r) lanes[r] = sums[r];
  const std::byte* p[kRowsInStep];
#pragma GCC unroll 4
  for (int r = 0; r < kRowsInStep; ++r) p[r] = rows[r].data + begin * Bf16::kBytes;
  Bf16 decoder;
  for (int64_t i = 0; i < count; i += kStep) {
#pragma GCC unroll 4
    for (int r = 0; r < kRowsInStep; ++r) {
      add_step(decoder, p[r] + i * Bf16::kBytes, x + i, lanes[r]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRowsInStep; ++r) sums[r] = lanes[r];
}

template <typename Fill>
LETHE_AVX2_INLINE void bf16_rows(const WeightRow* rows, int64_t num_rows, int64_t n, float* out,
                                 Fill fill) noexcept {
  Part part;
  for (int64_t first = 0; first < num_rows; first += kRowsTogether) {
    const int64_t rest = num_rows - first;
    const int64_t count = rest < kRowsTogether ? rest : kRowsTogether;
    Lanes lanes[kRowsTogether] = {};
    for (int64_t begin = 0; begin < n; begin += kPart) {
      const int64_t columns = n - begin < kPart ? n - begin : kPart;
      fill(begin, columns, part.x);
      int64_t r = 0;
      for (; columns % kStep == 0 && r + kRowsInStep <= count && apart(rows + first + r);
           r += kRowsInStep) {
        add_in_step(rows + first + r, begin, columns, part.x, lanes + r);
      }
      for (; r < count; ++r) {
        add_columns<Bf16>(rows[first + r].data + begin * Bf16::kBytes, columns, part.x, lanes[r]);
      }
    }
    for (int64_t r = 0; r < count; ++r) out[first + r] = reduce(lanes[r]);
  }
}
void bf16_rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                   float* out) noexcept {
  bf16_rows(rows, num_rows, n, out, [&token](int64_t begin, int64_t count, float* x) {
    fill_from_bf16(token.bf16 + begin, count, x);
  });
}
void bf16_rows_with_f32(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                        float* out) noexcept {
  bf16_rows(rows, num_rows, n, out, [&token](int64_t begin, int64_t count, float* x) {
    fill_from_f32(token.f32 + begin, count, x);
  });
}

// --- FP8

/// The way of rows whose scales stay with them.
RowDot fp8_row_dot = nullptr;

/// part.scaled = part.x times 2^8 and the scales from column `begin` on. False if an activation is
/// neither zero nor within 2^+-kRange: then products with what comes out might not be those of
/// scaled weights.
bool scale_part(const WeightRow& row, int64_t begin, int64_t count, Part& part) noexcept {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256i below = _mm256_set1_epi32((127 - kRange) << 23);
  const __m256i most = _mm256_set1_epi32((127 + kRange) << 23);
  __m256i bad = _mm256_setzero_si256();
  for (int64_t i = 0; i < count; i += 8) {
    const int64_t tile = (begin + i) / row.scale_block;
    const int32_t bits = (static_cast<int32_t>(row.scales[tile]) + 8) << 23;
    const __m256 scale = _mm256_castsi256_ps(_mm256_set1_epi32(bits));
    const __m256 x = _mm256_load_ps(part.x + i);
    const __m256i size = _mm256_and_si256(_mm256_castps_si256(x), magnitude);
    const __m256i zero = _mm256_cmpeq_epi32(size, _mm256_setzero_si256());
    const __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi32(below, size), _mm256_cmpgt_epi32(size, most));
    bad = _mm256_or_si256(bad, _mm256_andnot_si256(zero, outside));
    _mm256_store_ps(part.scaled + i, _mm256_mul_ps(x, scale));
  }
  return _mm256_testz_si256(bad, bad) != 0;
}

/// Up to kRowsTogether rows with the scales at the activations; false if that cannot be.
bool plain_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                float* out) noexcept {
  if (n % kStep != 0 || !share_plain_scales(rows, num_rows, n, kStep)) return false;
  Part part;
  Lanes lanes[kRowsTogether] = {};
  bool valid[kRowsTogether];
  for (int64_t r = 0; r < num_rows; ++r) valid[r] = true;
  for (int64_t begin = 0; begin < n; begin += kPart) {
    const int64_t columns = n - begin < kPart ? n - begin : kPart;
    fill_from_bf16(token.bf16 + begin, columns, part.x);
    if (!scale_part(rows[0], begin, columns, part)) return false;
    for (int64_t r = 0; r < num_rows; ++r) {
      valid[r] &= add_columns<E4m3>(rows[r].data + begin, columns, part.scaled, lanes[r]);
    }
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    if (valid[r]) {
      out[r] = reduce(lanes[r]);
    } else {
      fp8_row_dot(rows[r], n, &token, 1, out + r);
    }
  }
  return true;
}

void fp8_rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                  float* out) noexcept {
  while (num_rows > 0) {
    const int64_t count = rows_sharing_scales(rows, num_rows, kRowsTogether);
    if (!plain_rows(rows, count, n, token, out)) {
      for (int64_t r = 0; r < count; ++r) fp8_row_dot(rows[r], n, &token, 1, out + r);
    }
    rows += count;
    out += count;
    num_rows -= count;
  }
}

}  // namespace

void install_avx2_f32_rows(KernelTable& table) noexcept {
  fp8_row_dot = table.row_dot[static_cast<size_t>(Encoding::Fp8Block)];
  table.rows_dot[static_cast<size_t>(Encoding::BF16)] = bf16_rows_dot;
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Block)] = fp8_rows_dot;
  table.rows_dot[static_cast<size_t>(Encoding::Fp8Row)] = fp8_rows_dot;
  table.bf16_rows_with_f32 = bf16_rows_with_f32;
}

}  // namespace lethe::kernels
