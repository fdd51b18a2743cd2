#include "kernels/attention_loop.h"
#include "kernels/neon.h"
#include "kernels/neon_decoders.h"

// As avx2_attention.cpp: rows are decoded to f32, and what is to be rounded to bf16 is rounded
// there. Products are fused. Multiplications take one side from a lane, so nothing is broadcast.

namespace lethe::kernels {

namespace {

/// f32 to the nearest bf16, kept in f32; NaN stays NaN.
LETHE_INLINE float32x4_t round_to_bf16(float32x4_t v) noexcept {
  const uint32x4_t bits = vreinterpretq_u32_f32(v);
  const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
  const uint32x4_t rounded = vandq_u32(up, vdupq_n_u32(0xffff0000));
  return vbslq_f32(vceqq_f32(v, v), vreinterpretq_f32_u32(rounded), v);
}

LETHE_INLINE float e4m3_value(uint8_t code) noexcept {
  if ((code & 0x7f) == 0x7f) return __builtin_nanf("");
  float32x4_t v[4];
  e4m3_over_256(vdupq_n_u8(code), v);
  return vgetq_lane_f32(v[0], 0) * 256;
}

/// A group of at most 16 codes.
LETHE_INLINE void decode_codes(const uint8_t* codes, int64_t count, float32x4_t scale,
                               float* out) noexcept {
  uint8_t some[16] = {};
  if (count < 16) __builtin_memcpy(some, codes, static_cast<size_t>(count));
  float32x4_t v[4];
  e4m3_over_256(load_bytes(count < 16 ? some : codes), v);
  float all[16];
  float* const to = count < 16 ? all : out;
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    vst1q_f32(to + 4 * i, vmulq_f32(vmulq_n_f32(v[i], 256), scale));
  }
  if (count < 16) __builtin_memcpy(out, all, sizeof(float) * static_cast<size_t>(count));
}

LETHE_INLINE void decode_fp8(const std::byte* row, const KeyLayout& layout, int64_t dim,
                             float* out) noexcept {
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const int64_t plain = dim - layout.bf16_tail;
  const int64_t groups = (plain + layout.fp8_group - 1) / layout.fp8_group;
  const uint8_t* const scales = codes + plain;
  for (int64_t g = 0; g < groups; ++g) {
    const float32x4_t scale = vdupq_n_f32(e8m0_value(scales[g]));
    const int64_t begin = g * layout.fp8_group;
    const int64_t end = begin + layout.fp8_group < plain ? begin + layout.fp8_group : plain;
    for (int64_t i = begin; i < end; i += 16) {
      decode_codes(codes + i, end - i < 16 ? end - i : 16, scale, out + i);
    }
  }
  const uint8_t* const tail = scales + groups;
  for (int64_t i = 0; i < layout.bf16_tail; ++i) {
    const uint32_t bits = uint32_t{load<uint16_t>(tail + 2 * i)} << 16;
    __builtin_memcpy(out + plain + i, &bits, sizeof(bits));
  }
}

LETHE_INLINE void decode_fp4(const std::byte* row, int64_t dim, float* out) noexcept {
  constexpr int8_t kDoubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int8x16_t table = vld1q_s8(kDoubled);
  const auto* const codes = reinterpret_cast<const uint8_t*>(row);
  const uint8_t* const scales = codes + dim / 2;
  for (int64_t g = 0; g < dim / 16; ++g) {
    const float32x4_t scale = vdupq_n_f32(0.5F * e4m3_value(scales[g]));
    const uint8x8_t pairs = vld1_u8(codes + 8 * g);
    const uint8x8_t low = vand_u8(pairs, vdup_n_u8(15));
    const uint8x8_t high = vshr_n_u8(pairs, 4);
    const int8x16_t twice =
        vqtbl1q_s8(table, vcombine_u8(vzip1_u8(low, high), vzip2_u8(low, high)));
    const int16x8_t words[2] = {vmovl_s8(vget_low_s8(twice)), vmovl_high_s8(twice)};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      float* const to = out + 16 * g + 8 * h;
      vst1q_f32(to, vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(words[h]))), scale));
      vst1q_f32(to + 4, vmulq_f32(vcvtq_f32_s32(vmovl_high_s16(words[h])), scale));
    }
  }
}

constexpr int64_t kDimsAtOnce = 64;  // of a query's elements: 16 KB for 64 heads

/// Adds one dim, in lane kLane of each key, of 16 heads.
template <int kLane>
LETHE_INLINE void add_dim(const float* q, const float32x4_t* keys,
                          float32x4_t (*sums)[4]) noexcept {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const float32x4_t heads = vld1q_f32(q + 4 * v);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k][v] = vfmaq_laneq_f32(sums[k][v], heads, keys[k], kLane);
  }
}

/// Scores of 4 keys and 16 heads, over some dims.
LETHE_INLINE void score_tile(const AttentionRoom& room, int64_t head, int64_t key, int64_t begin,
                             int64_t end) noexcept {
  const float* const queries = reinterpret_cast<const float*>(room.queries) + head;
  const float* const keys = reinterpret_cast<const float*>(room.panel) + key * room.dim;
  float* const out = room.scores + key * room.heads + head;
  float32x4_t sums[4][4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      sums[k][v] = begin == 0 ? vdupq_n_f32(0) : vld1q_f32(out + k * room.heads + 4 * v);
    }
  }
  for (int64_t d = begin; d < end; d += 4) {
    const float* const q = queries + d * room.heads;
    float32x4_t of_keys[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) of_keys[k] = vld1q_f32(keys + k * room.dim + d);
    add_dim<0>(q, of_keys, sums);
    add_dim<1>(q + room.heads, of_keys, sums);
    add_dim<2>(q + 2 * room.heads, of_keys, sums);
    add_dim<3>(q + 3 * room.heads, of_keys, sums);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) vst1q_f32(out + k * room.heads + 4 * v, sums[k][v]);
  }
}

/// Adds a key's values, 16 dims, to the head whose weight is in lane kHead.
template <int kHead>
LETHE_INLINE void add_value(const float32x4_t* values, float32x4_t weights,
                            float32x4_t (*sums)[4]) noexcept {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    sums[kHead][v] = vfmaq_laneq_f32(sums[kHead][v], values[v], weights, kHead);
  }
}

/// Adds all keys of the block to 4 heads' sums of 16 dims.
LETHE_INLINE void value_tile(const AttentionRoom& room, int64_t head, int64_t dim,
                             float* sums) noexcept {
  const float* const weights = reinterpret_cast<const float*>(room.weights) + head;
  const float* const values = reinterpret_cast<const float*>(room.values) + dim;
  float* const out = sums + head * room.dim + dim;
  float32x4_t acc[4][4];
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      acc[h][v] = vmulq_n_f32(vld1q_f32(out + h * room.dim + 4 * v), room.factor[head + h]);
    }
  }
  for (int64_t i = 0; i < room.count; ++i) {
    float32x4_t value[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) value[v] = vld1q_f32(values + i * room.dim + 4 * v);
    const float32x4_t weight = vld1q_f32(weights + i * room.heads);
    add_value<0>(value, weight, acc);
    add_value<1>(value, weight, acc);
    add_value<2>(value, weight, acc);
    add_value<3>(value, weight, acc);
  }
#pragma GCC unroll 4
  for (int h = 0; h < 4; ++h) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) vst1q_f32(out + h * room.dim + 4 * v, acc[h][v]);
  }
}

struct Neon {
  using Vec = float32x4_t;
  static constexpr int64_t kWidth = 4;
  LETHE_INLINE static Vec load(const float* p) noexcept { return vld1q_f32(p); }
  LETHE_INLINE static void store(float* p, Vec v) noexcept { vst1q_f32(p, v); }
  LETHE_INLINE static Vec set(float x) noexcept { return vdupq_n_f32(x); }
  LETHE_INLINE static Vec add(Vec a, Vec b) noexcept { return vaddq_f32(a, b); }
  LETHE_INLINE static Vec sub(Vec a, Vec b) noexcept { return vsubq_f32(a, b); }
  LETHE_INLINE static Vec mul(Vec a, Vec b) noexcept { return vmulq_f32(a, b); }
  LETHE_INLINE static Vec fma(Vec a, Vec b, Vec c) noexcept { return vfmaq_f32(c, a, b); }
  LETHE_INLINE static Vec max(Vec a, Vec b) noexcept { return vmaxq_f32(a, b); }
  LETHE_INLINE static Vec round(Vec v) noexcept { return vrndnq_f32(v); }
  /// v * 2^n, -126 <= n <= 127.
  LETHE_INLINE static Vec scale(Vec v, Vec n) noexcept {
    const int32x4_t exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vmulq_f32(v, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
  }
  LETHE_INLINE static Vec zero_if_below(Vec x, float limit, Vec v) noexcept {
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(limit));
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), below));
  }

  /// [dim][heads]
  LETHE_INLINE static void pack_queries(const AttentionQuery& query,
                                        const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.queries);
    __builtin_memset(out, 0, sizeof(float) * static_cast<size_t>(room.heads * room.dim));
    for (int64_t h = 0; h < query.heads; ++h) {
      const float* const q = query.q + h * query.dim;
      int64_t d = 0;
      for (; d + 4 <= query.dim; d += 4) {
        float rounded[4];
        vst1q_f32(rounded, round_to_bf16(vld1q_f32(q + d)));
        for (int64_t i = 0; i < 4; ++i) out[(d + i) * room.heads + h] = rounded[i];
      }
      for (; d < query.dim; ++d) {
        out[d * room.heads + h] = vgetq_lane_f32(round_to_bf16(vdupq_n_f32(q[d])), 0);
      }
    }
  }

  /// The panel, f32 [keys][dim], padded with zeros; the values are the same.
  LETHE_INLINE static void decode_rows(const AttentionKey* keys, int64_t dim,
                                       AttentionRoom& room) noexcept {
    auto* const panel = reinterpret_cast<float*>(room.panel);
    room.values = room.panel;
    const int64_t padded = (room.count + 3) / 4 * 4;
    for (int64_t i = 0; i < padded; ++i) {
      float* const row = panel + i * room.dim;
      if (i >= room.count || dim < room.dim) {
        __builtin_memset(row, 0, sizeof(float) * static_cast<size_t>(room.dim));
      }
      if (i >= room.count) continue;
      if (keys[i].layout->fp4) {
        decode_fp4(keys[i].data, dim, row);
      } else {
        decode_fp8(keys[i].data, *keys[i].layout, dim, row);
      }
    }
  }

  LETHE_INLINE static void score(const AttentionRoom& room) noexcept {
    for (int64_t begin = 0; begin < room.dim; begin += kDimsAtOnce) {
      const int64_t end = begin + kDimsAtOnce < room.dim ? begin + kDimsAtOnce : room.dim;
      for (int64_t head = 0; head < room.heads; head += 16) {
        for (int64_t k = 0; k < room.count; k += 4) score_tile(room, head, k, begin, end);
      }
    }
  }

  LETHE_INLINE static void pack_weights(const AttentionRoom& room) noexcept {
    auto* const out = reinterpret_cast<float*>(room.weights);
    for (int64_t i = 0; i < room.count * room.heads; i += 4) {
      vst1q_f32(out + i, round_to_bf16(vld1q_f32(room.scores + i)));
    }
  }

  LETHE_INLINE static void add_values(const AttentionRoom& room, float* sums) noexcept {
    for (int64_t d = 0; d < room.dim; d += 16) {
      for (int64_t h = 0; h < room.heads; h += 4) value_tile(room, h, d, sums);
    }
  }
};

void attend(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
            const AttentionSums& out, std::byte* scratch) noexcept {
  attend_in_blocks<Neon>(query, keys, count, out, scratch);
}

}  // namespace

void install_neon_attention(KernelTable& table) noexcept {
  table.attend = attend;
}

}  // namespace lethe::kernels
