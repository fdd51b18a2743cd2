#pragma once

#include "kernels/neon_vectors.h"
#include "kernels/row_dot.h"

// Rows of F32, F16, BF16 and FP8 to f32, 16 elements at a time, and activations likewise. Only for
// translation units with wide flags: everything is in an unnamed namespace.
//
// A cursor walks a row from its start: next(out) writes 16 elements to 4 vectors in their order.

namespace lethe::kernels {
namespace {

constexpr int64_t kPiece = 16;

struct F32Cursor {
  static constexpr int64_t kElementBytes = 4;
  const std::byte* p;
  explicit F32Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_NEON_INLINE void next(float32x4_t* out) noexcept {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) out[v] = load_f32(p + 16 * v);
    p += 4 * kPiece;
  }
};

LETHE_NEON_INLINE void widen_bf16(const void* bf16, float32x4_t* out) noexcept {
  const auto* const bytes = static_cast<const uint8_t*>(bf16);
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    const uint16x8_t v = vreinterpretq_u16_u8(load_bytes(bytes + 16 * h));
    out[2 * h] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(v), 16));
    out[2 * h + 1] = vreinterpretq_f32_u32(vshll_high_n_u16(v, 16));
  }
}

struct Bf16Cursor {
  static constexpr int64_t kElementBytes = 2;
  const std::byte* p;
  explicit Bf16Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_NEON_INLINE void next(float32x4_t* out) noexcept {
    widen_bf16(p, out);
    p += 2 * kPiece;
  }
};

/// 8 halves to f32.
LETHE_NEON_INLINE void widen_f16(uint16x8_t halves, float32x4_t* out) noexcept {
  const float16x8_t v = vreinterpretq_f16_u16(halves);
  out[0] = vcvt_f32_f16(vget_low_f16(v));
  out[1] = vcvt_high_f32_f16(v);
}

struct F16Cursor {
  static constexpr int64_t kElementBytes = 2;
  const std::byte* p;
  explicit F16Cursor(const WeightRow& row) noexcept : p(row.data) {}
  LETHE_NEON_INLINE void next(float32x4_t* out) noexcept {
    widen_f16(vreinterpretq_u16_u8(load_bytes(p)), out);
    widen_f16(vreinterpretq_u16_u8(load_bytes(p + 16)), out + 2);
    p += 2 * kPiece;
  }
};

/// e4m3 through f16: the same fields there mean 2^-8 of the value, exactly. Of 16 codes.
LETHE_NEON_INLINE void e4m3_over_256(uint8x16_t codes, float32x4_t* out) noexcept {
  const int8x16_t v = vreinterpretq_s8_u8(codes);
  const uint16x8_t fields = vdupq_n_u16(0xbf80);  // the bit between sign and exponent cleared
  widen_f16(vandq_u16(vreinterpretq_u16_s16(vshll_n_s8(vget_low_s8(v), 7)), fields), out);
  widen_f16(vandq_u16(vreinterpretq_u16_s16(vshll_high_n_s8(v, 7)), fields), out + 2);
}

/// FP8 with scales per tile of a multiple of 16 elements. NaN codes become numbers, and are told
/// by has_nan() at the end.
struct Fp8Cursor {
  static constexpr int64_t kElementBytes = 1;
  const std::byte* p;
  const std::byte* scales;
  bool scales_f32;
  bool two_factors = false;  // 2^8 times the scale would overflow
  int32_t pieces_per_tile;
  int32_t pieces_left = 0;
  float scale = 0;
  uint8x16_t largest = vdupq_n_u8(0);  // magnitudes so far, doubled

  explicit Fp8Cursor(const WeightRow& row) noexcept
      : p(row.data),
        scales(row.scales),
        scales_f32(row.scales_f32),
        pieces_per_tile(row.scale_block / static_cast<int32_t>(kPiece)) {}

  LETHE_NEON_INLINE void next(float32x4_t* out) noexcept {
    if (pieces_left == 0) next_tile();
    --pieces_left;
    const uint8x16_t codes = load_bytes(p);
    p += kPiece;
    largest = vmaxq_u8(largest, vshlq_n_u8(codes, 1));
    e4m3_over_256(codes, out);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      if (two_factors) [[unlikely]] {
        out[v] = vmulq_n_f32(out[v], 256.0F);
      }
      out[v] = vmulq_n_f32(out[v], scale);
    }
  }
  LETHE_NEON_INLINE void next_tile() noexcept {
    float s;
    if (scales_f32) {
      s = load<float>(scales);
      scales += 4;
    } else {
      s = e8m0_value(static_cast<uint8_t>(*scales++));
    }
    two_factors = s >= 0x1p119F || s <= -0x1p119F;
    scale = two_factors ? s : s * 256.0F;
    pieces_left = pieces_per_tile;
  }
  LETHE_NEON_INLINE bool has_nan() const noexcept {
    return vmaxvq_u8(largest) == 0xfe;
  }
};

/// The end of a row that does not fill a piece, followed by zeros, which add +0 to their lanes.
template <typename Cursor>
struct PaddedWeights {
  std::byte data[kPiece * Cursor::kElementBytes] = {};
  PaddedWeights(const std::byte* p, int64_t count) noexcept {
    __builtin_memcpy(data, p, static_cast<size_t>(count * Cursor::kElementBytes));
  }
};

}  // namespace
}  // namespace lethe::kernels
