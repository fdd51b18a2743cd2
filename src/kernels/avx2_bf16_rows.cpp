#include "kernels/avx2.h"
#include "kernels/avx2_f32_rows.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

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

struct Bf16 {
  static constexpr int64_t kBytes = 2;
  LETHE_AVX2_INLINE void decode(const std::byte* p, __m256* w) noexcept {
    widen(load256(p), w);
    widen(load256(p + 32), w + 2);
  }
  static bool valid() noexcept { return true; }
};

/// fill(begin, count, x) widens activations.
template <typename Fill>
LETHE_AVX2_INLINE void all_rows(const WeightRow* rows, int64_t num_rows, int64_t n, float* out,
                                Fill fill) noexcept {
  Part part;
  for (int64_t first = 0; first < num_rows; first += kRows) {
    const int64_t count = num_rows - first < kRows ? num_rows - first : kRows;
    RowSums sums;
    for (int64_t begin = 0; begin < n; begin += kPart) {
      const int64_t columns = n - begin < kPart ? n - begin : kPart;
      fill(begin, columns, part.x);
      add_rows<Bf16, 4>(rows + first, count, begin, columns, part.x, sums);
    }
    for (int64_t r = 0; r < count; ++r) out[first + r] = reduce(sums.lanes[r]);
  }
}
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  all_rows(rows, num_rows, n, out, [&token](int64_t begin, int64_t count, float* x) {
    fill_from_bf16(token.bf16 + begin, count, x);
  });
}
void rows_with_f32(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
                   float* out) noexcept {
  all_rows(rows, num_rows, n, out, [&token](int64_t begin, int64_t count, float* x) {
    fill_from_f32(token.f32 + begin, count, x);
  });
}

}  // namespace

void install_avx2_bf16_rows(KernelTable& table) noexcept {
  table.rows_dot[static_cast<size_t>(Encoding::BF16)] = rows_dot;
  table.bf16_rows_with_f32 = rows_with_f32;
}

}  // namespace lethe::kernels
