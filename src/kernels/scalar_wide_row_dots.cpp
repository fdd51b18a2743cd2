#include <algorithm>
#include <cstring>

#include "kernels/lanes.h"
#include "kernels/scalar.h"
#include "tensor/rounding.h"

// Row dots whose weights are decoded to f32, a piece of a row at a time, and met there by f32 or
// bf16 activations.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int64_t kWidePiece = 256;  // elements decoded at once; a multiple of the lanes
constexpr int64_t kWideTokens = 8;   // tokens that share one decoded piece

// Decoders: elements [begin, begin + count) of a row to f32.

void decode_f32(const WeightRow& row, int64_t begin, int64_t count, float* out) noexcept {
  std::memcpy(out, row.data + 4 * begin, static_cast<size_t>(count) * 4);
}

void decode_f16(const WeightRow& row, int64_t begin, int64_t count, float* out) noexcept {
  const std::byte* p = row.data + 2 * begin;
  for (int64_t i = 0; i < count; ++i) out[i] = f16_to_f32(load_unaligned<uint16_t>(p + 2 * i));
}

void decode_bf16(const WeightRow& row, int64_t begin, int64_t count, float* out) noexcept {
  const std::byte* p = row.data + 2 * begin;
  for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(load_unaligned<uint16_t>(p + 2 * i));
}

void decode_fp8(const WeightRow& row, int64_t begin, int64_t count, float* out) noexcept {
  const auto* codes = reinterpret_cast<const uint8_t*>(row.data);
  const int64_t end = begin + count;
  for (int64_t col = begin; col < end;) {
    const int64_t tile = col / row.scale_block;
    const int64_t tile_end = std::min((tile + 1) * row.scale_block, end);
    const float scale = row.scales_f32 ? load_unaligned<float>(row.scales + 4 * tile)
                                       : e8m0_to_f32(static_cast<uint8_t>(row.scales[tile]));
    for (; col < tile_end; ++col) *out++ = e4m3_to_f32(codes[col]) * scale;
  }
}

struct F32Activations {
  static void add(float* lanes, const float* weights, int64_t count, const Activation& token,
                  int64_t begin) noexcept {
    const float* x = token.f32 + begin;
    add_products<kF32Lanes>(lanes, weights, count, [x](int64_t i) { return x[i]; });
  }
};

struct Bf16Activations {
  static void add(float* lanes, const float* weights, int64_t count, const Activation& token,
                  int64_t begin) noexcept {
    const uint16_t* x = token.bf16 + begin;
    add_products<kF32Lanes>(lanes, weights, count, [x](int64_t i) { return bf16_to_f32(x[i]); });
  }
};

using Decode = void (*)(const WeightRow&, int64_t, int64_t, float*) noexcept;

template <Decode kDecode, typename Activations>
void wide_row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
                  float* out) noexcept {
  for (int64_t first = 0; first < num_tokens; first += kWideTokens) {
    const int64_t tile = std::min(kWideTokens, num_tokens - first);
    float lanes[kWideTokens][kF32Lanes] = {};
    float weights[kWidePiece];
    for (int64_t begin = 0; begin < n; begin += kWidePiece) {
      const int64_t count = std::min(kWidePiece, n - begin);
      kDecode(row, begin, count, weights);
      for (int64_t t = 0; t < tile; ++t) {
        Activations::add(lanes[t], weights, count, tokens[first + t], begin);
      }
    }
    for (int64_t t = 0; t < tile; ++t) out[first + t] = reduce_lanes<kF32Lanes>(lanes[t]);
  }
}

}  // namespace

void scalar_fp8_row_dot(const WeightRow& row, int64_t n, const Activation* tokens,
                        int64_t num_tokens, float* out) noexcept {
  wide_row_dot<decode_fp8, Bf16Activations>(row, n, tokens, num_tokens, out);
}

void install_scalar_wide_row_dots(KernelTable& table) noexcept {
  const auto set = [&table](Encoding encoding, RowDot dot) {
    table.row_dot[static_cast<size_t>(encoding)] = dot;
  };
  set(Encoding::F32, wide_row_dot<decode_f32, F32Activations>);
  set(Encoding::F16, wide_row_dot<decode_f16, Bf16Activations>);
  set(Encoding::BF16, wide_row_dot<decode_bf16, Bf16Activations>);
  set(Encoding::Fp8Block, scalar_fp8_row_dot);
  set(Encoding::Fp8Row, scalar_fp8_row_dot);
}

}  // namespace lethe::kernels
