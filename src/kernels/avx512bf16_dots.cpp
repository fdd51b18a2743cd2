#include "kernels/avx512bf16.h"
#include "kernels/avx512bf16_tile.h"

namespace lethe::kernels {

namespace {

template <bool kNarrow>
struct Bf16Weights {
  static constexpr int64_t kWidth = kPiece;
  const std::byte* data;

  explicit Bf16Weights(const WeightRow& row) noexcept : data(row.data) {}
  LETHE_AVX512_INLINE void load(int64_t column, int64_t count, __m512i* w) const noexcept {
    const std::byte* at = data + 2 * column;
    if (kNarrow && count >= kWidth) {
      w[0] = load512_halves(at);
    } else {
      w[0] = _mm512_maskz_loadu_epi16(first_lanes(count), at);
    }
  }
};

template <bool kNarrow>
void rows_dot(const WeightRow* rows, int64_t num_rows, int64_t n, const Activation& token,
              float* out) noexcept {
  for (int64_t r = 0; r < num_rows; ++r) out[r] = dot_one<Bf16Weights<kNarrow>>(rows[r], n, token);
}

void row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
             float* out) noexcept {
  for (int64_t t = 0; t < num_tokens; ++t) out[t] = dot_one<Bf16Weights<false>>(row, n, tokens[t]);
}

}  // namespace

void install_avx512bf16_dots(KernelTable& table, bool narrow_streams) noexcept {
  const auto index = static_cast<size_t>(quant::Encoding::BF16);
  table.own_bits[index] = true;
  table.row_dot[index] = row_dot;
  table.rows_dot[index] = narrow_streams ? rows_dot<true> : rows_dot<false>;
  table.tile[index] = tile_kernel<Bf16Weights<false>>(1);
}

}  // namespace lethe::kernels
