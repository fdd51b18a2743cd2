#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2.h"
#include "kernels/avx2_f32_tile.h"

// Tiles in f32 of weights that are floating-point numbers: decoded to the panels of
// avx2_f32_tile.h, which multiplies them.

namespace lethe::kernels {

namespace {

using quant::Encoding;

LETHE_AVX2_INLINE __m128i load128(const void* p) noexcept {
  return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

// Rows: decode(p, out) makes two vectors of the 16 elements at p. A Row begins at any piece of a
// row and is asked for one after the other.

struct F32Row {
  static constexpr int64_t kElementBytes = 4;
  F32Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = _mm256_loadu_ps(reinterpret_cast<const float*>(p));
    out[1] = _mm256_loadu_ps(reinterpret_cast<const float*>(p) + kLanes);
  }
};

struct Bf16Row {
  static constexpr int64_t kElementBytes = 2;
  Bf16Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = widen(load128(p));
    out[1] = widen(load128(p + 16));
  }
  LETHE_AVX2_INLINE static __m256 widen(__m128i bf16) noexcept {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bf16), 16));
  }
};

struct F16Row {
  static constexpr int64_t kElementBytes = 2;
  F16Row(const WeightRow&, int64_t) noexcept {}
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    out[0] = _mm256_cvtph_ps(load128(p));
    out[1] = _mm256_cvtph_ps(load128(p + 16));
  }
};

/// e4m3 through f16: the same fields there mean 2^-8 of the value, exactly; NaN needs its own
/// exponent. Scales are per tile of a multiple of 16 elements.
struct Fp8Row {
  static constexpr int64_t kElementBytes = 1;
  const std::byte* scales;
  bool scales_f32;
  int64_t pieces_per_tile;
  int64_t pieces_left;
  __m256 scale;

  Fp8Row(const WeightRow& row, int64_t piece) noexcept
      : scales(row.scales), scales_f32(row.scales_f32), pieces_per_tile(row.scale_block / kPiece) {
    scales += piece / pieces_per_tile * (scales_f32 ? 4 : 1);
    next_tile();
    pieces_left -= piece % pieces_per_tile;
  }

  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* out) noexcept {
    if (pieces_left == 0) next_tile();
    --pieces_left;
    const __m256i words = _mm256_cvtepu8_epi16(load128(p));
    const __m256i magnitude = _mm256_and_si256(words, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_srli_epi16(words, 7), 15);
    const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f));
    const __m256i halves = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign),
                                           _mm256_srli_epi16(nan, 1));
    out[0] = scaled(_mm256_castsi256_si128(halves));
    out[1] = scaled(_mm256_extracti128_si256(halves, 1));
  }
  LETHE_AVX2_INLINE __m256 scaled(__m128i halves) const noexcept {
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_set1_ps(256.0F)), scale);
  }
  LETHE_AVX2_INLINE void next_tile() noexcept {
    float s;
    if (scales_f32) {
      __builtin_memcpy(&s, scales, sizeof(s));
      scales += sizeof(s);
    } else {
      const auto e = static_cast<uint32_t>(*scales++);
      const uint32_t bits = e << 23 | (e == 0 || e == 255 ? 0x00400000u : 0u);
      __builtin_memcpy(&s, &bits, sizeof(s));
    }
    scale = _mm256_set1_ps(s);
    pieces_left = pieces_per_tile;
  }
};

/// Columns [begin, end) of a row, of one part. first, last: where the halves of its pieces go.
template <typename Row>
LETHE_AVX2_INLINE void pack_part(const WeightRow& row, int64_t begin, int64_t end, float* first,
                                 float* last) noexcept {
  Row decoder(row, begin / kPiece);
  const std::byte* p = row.data + begin * Row::kElementBytes;
  __m256 v[2];
  for (; begin + kPiece <= end; begin += kPiece, p += kPiece * Row::kElementBytes) {
    decoder.decode(p, v);
    _mm256_store_ps(first, v[0]);
    _mm256_store_ps(last, v[1]);
    first += kStepFloats;
    last += kStepFloats;
  }
  if (begin < end) {
    alignas(32) std::byte rest[kPiece * Row::kElementBytes] = {};
    __builtin_memcpy(rest, p, static_cast<size_t>((end - begin) * Row::kElementBytes));
    decoder.decode(rest, v);
    _mm256_store_ps(first, v[0]);
    _mm256_store_ps(last, v[1]);
  }
}

/// Part by part, so that all rows of one are written while it is in the first cache.
template <typename Row>
void pack(const WeightRow* rows, int64_t num_rows, int64_t n, std::byte* panel) noexcept {
  auto* out = reinterpret_cast<float*>(panel);
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  for (int64_t p = 0; p < pieces; p += kPart) {
    const int64_t count = least(pieces - p, kPart);
    if (num_rows < kPanelRows) {
      __builtin_memset(out, 0, static_cast<size_t>(count * kPieceFloats) * sizeof(float));
    }
    for (int64_t r = 0; r < num_rows; ++r) {
      float* const first =
          out + r / kRowsTogether * (2 * count * kStepFloats) + r % kRowsTogether * kLanes;
      pack_part<Row>(rows[r], p * kPiece, least(n, (p + kPart) * kPiece), first,
                     first + count * kStepFloats);
    }
    out += count * kPieceFloats;
  }
}

template <typename Row>
void set(KernelTable& table, Encoding encoding, int64_t scale_multiple) noexcept {
  table.tile[static_cast<size_t>(encoding)] = {
      .group_bytes = 2 * kPieceFloats * static_cast<int64_t>(sizeof(float)),
      .scale_multiple = scale_multiple,
      .rows_at_once = kPanelsTogether * kPanelRows,
      .pack = pack<Row>,
      .dot = dot_f32_tile};
}

}  // namespace

void install_avx2_wide_tile(KernelTable& table) noexcept {
  set<F32Row>(table, Encoding::F32, 1);
  set<F16Row>(table, Encoding::F16, 1);
  set<Bf16Row>(table, Encoding::BF16, 1);
  set<Fp8Row>(table, Encoding::Fp8Block, kPiece);
  set<Fp8Row>(table, Encoding::Fp8Row, kPiece);
}

}  // namespace lethe::kernels
