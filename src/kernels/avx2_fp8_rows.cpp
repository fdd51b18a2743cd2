#include "kernels/avx2.h"
#include "kernels/avx2_f32_rows.h"
#include "kernels/plain_scales.h"

// Rows of e4m3 whose scales the activations have taken on.

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// e4m3 without scales, 2^-8 of its values: as f16 the same fields mean that. (As f32 they would
/// mean 2^-120, with less work but where codes are subnormal, which costs more than it saves.) NaN,
/// which would need another exponent, is noted.
struct E4m3 {
  static constexpr int64_t kBytes = 1;
  __m256i largest = _mm256_setzero_si256();

  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* w) noexcept {
    const __m256i codes = load256(p);
    largest = _mm256_max_epu8(largest, _mm256_or_si256(codes, _mm256_set1_epi8(-128)));
    const __m256i fields = _mm256_set1_epi16(static_cast<int16_t>(0xbf80));
    const __m256i even =
        _mm256_and_si256(_mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 1), fields);
    const __m256i odd = _mm256_and_si256(_mm256_srai_epi16(codes, 1), fields);
    w[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(even));
    w[1] = _mm256_cvtph_ps(_mm256_castsi256_si128(odd));
    w[2] = _mm256_cvtph_ps(_mm256_extracti128_si256(even, 1));
    w[3] = _mm256_cvtph_ps(_mm256_extracti128_si256(odd, 1));
  }
  bool valid() const noexcept {
    const __m256i nan = _mm256_cmpeq_epi8(largest, _mm256_set1_epi8(-1));
    return _mm256_testz_si256(nan, nan) != 0;
  }
};

/// Activations that are not zero and can take on scales: products with what comes out are normal
/// numbers down to 2^-70 * 2^(8 - kRange) * 2^-17, where 2^-17 is the least code as f16. (Smaller
/// ones do come out of SwiGLU now and then.)
constexpr int kLeastExponent = -70;

/// x times 2^8 and the scales from column `begin` on. False if an activation is neither zero nor
/// from 2^kLeastExponent to 2^kRange: then products with what comes out might not be those of
/// scaled weights.
bool scale_part(const WeightRow& row, int64_t begin, int64_t count, float* x) noexcept {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  const __m256i least = _mm256_set1_epi32((127 + kLeastExponent) << 23);
  const __m256i most = _mm256_set1_epi32((127 + kRange) << 23);
  __m256i bad = _mm256_setzero_si256();
  for (int64_t i = 0; i < count; i += 8) {
    const int32_t bits = (static_cast<int32_t>(row.scales[(begin + i) / row.scale_block]) + 8)
                         << 23;
    const __m256 v = _mm256_load_ps(x + i);
    const __m256i size = _mm256_and_si256(_mm256_castps_si256(v), magnitude);
    const __m256i zero = _mm256_cmpeq_epi32(size, _mm256_setzero_si256());
    const __m256i outside =
        _mm256_or_si256(_mm256_cmpgt_epi32(least, size), _mm256_cmpgt_epi32(size, most));
    bad = _mm256_or_si256(bad, _mm256_andnot_si256(zero, outside));
    _mm256_store_ps(x + i, _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_set1_epi32(bits))));
  }
  return _mm256_testz_si256(bad, bad) != 0;
}

/// The way of rows whose scales stay with them.
RowDot other_row_dot = nullptr;

/// Up to kRows rows with the scales at the activations; false if that cannot be.
bool plain_rows(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                float* out) noexcept {
  if (n % kStep != 0 || !share_plain_scales(rows, num_rows, n, kStep)) return false;
  Part part;
  RowSums sums;
  for (int64_t begin = 0; begin < n; begin += kPart) {
    const int64_t columns = n - begin < kPart ? n - begin : kPart;
    fill_from_bf16(token.bf16 + begin, columns, part.x);
    if (!scale_part(rows[0], begin, columns, part.x)) return false;
    add_rows<E4m3, 1>(rows, num_rows, begin, columns, part.x, sums);
  }
  for (int64_t r = 0; r < num_rows; ++r) {
    if (sums.valid[r]) {
      out[r] = reduce(sums.lanes[r]);
    } else {
      other_row_dot(rows[r], n, &token, 1, out + r);
    }
  }
  return true;
}

void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  while (num_rows > 0) {
    const int64_t count = rows_sharing_scales(rows, num_rows, kRows);
    if (!plain_rows(rows, count, n, token, out)) {
      for (int64_t r = 0; r < count; ++r) other_row_dot(rows[r], n, &token, 1, out + r);
    }
    rows += count;
    out += count;
    num_rows -= count;
  }
}

}  // namespace

void install_avx2_fp8_rows(KernelTable& table) noexcept {
  constexpr auto kBlocks = static_cast<size_t>(Encoding::Fp8Block);
  other_row_dot = table.row_dot[kBlocks];
  table.rows_dot[kBlocks] = rows_dot;
}

}  // namespace lethe::kernels
