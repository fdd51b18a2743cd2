#include "kernels/index_scores.h"
#include "kernels/neon.h"
#include "kernels/neon_vectors.h"

// Lanes are heads, 4 to a vector: 4 codes of each of 4 heads meet 4 of a key's, which lie in one
// lane of a vector. `sdot` takes both sides signed, so that keys need no offset, and queries no
// bias.

namespace lethe::kernels {

namespace {

constexpr int kKeys = 4;        // that pass the query together
constexpr int kHeads = 8;       // of a step
constexpr int kQuadBytes = 64;  // from a quad of codes to the next: 4 codes of 16 heads
constexpr int kMaxGroups = kMaxIndexDim / kIndexGroup;

struct DecodedKeys {
  int8_t codes[kKeys][2][kMaxIndexDim / 2];  // doubled; low nibbles of the row, then high ones
  float scales[kKeys][kMaxGroups];
};

LETHE_NEON_INLINE void decode(const std::byte* key, int64_t dim, int k, DecodedKeys& out) noexcept {
  constexpr int8_t kTable[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int8x16_t table = vld1q_s8(kTable);
  const int64_t half = dim / 2;
  for (int64_t b = 0; b < half; b += 16) {
    const uint8x16_t v = load_bytes(key + b);
    vst1q_s8(out.codes[k][0] + b, vqtbl1q_s8(table, vandq_u8(v, vdupq_n_u8(15))));
    vst1q_s8(out.codes[k][1] + b, vqtbl1q_s8(table, vshrq_n_u8(v, 4)));
  }
  for (int64_t g = 0; g < dim / kIndexGroup; ++g) {
    out.scales[k][g] = e8m0_value(static_cast<uint8_t>(key[half + g]));
  }
}

/// Adds one quad of 8 heads with the codes in lane kLane of each key.
template <int kLane>
LETHE_NEON_INLINE void add_quad(const int8_t* q, const int8x16_t* keys,
                                int32x4_t (*sums)[2]) noexcept {
  const int8x16_t first = vld1q_s8(q + kQuadBytes * kLane);
  const int8x16_t second = vld1q_s8(q + kQuadBytes * kLane + 16);
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) {
    sums[k][0] = vdotq_laneq_s32(sums[k][0], first, keys[k], kLane);
    sums[k][1] = vdotq_laneq_s32(sums[k][1], second, keys[k], kLane);
  }
}

/// Adds four quads of a group: those of low nibbles (0) or of high ones (1).
LETHE_NEON_INLINE void add_quads(const int8_t* q, const DecodedKeys& keys, int nibble, int64_t g,
                                 int32x4_t (*sums)[2]) noexcept {
  int8x16_t codes[kKeys];
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) codes[k] = vld1q_s8(keys.codes[k][nibble] + 16 * g);
  q += 4 * kQuadBytes * nibble;
  add_quad<0>(q, codes, sums);
  add_quad<1>(q, codes, sums);
  add_quad<2>(q, codes, sums);
  add_quad<3>(q, codes, sums);
}

/// Adds 8 heads from `head` on to eight lanes of each key.
LETHE_NEON_INLINE void add_heads(const IndexQueryCodes& query, int64_t head,
                                 const DecodedKeys& keys, float32x4_t (*lanes)[2]) noexcept {
  const int64_t groups = query.dim / kIndexGroup;
  const int8_t* codes =
      query.codes + head / kIndexHeadLanes * groups * 8 * kQuadBytes + 4 * (head % kIndexHeadLanes);
  float32x4_t dots[kKeys][2];
#pragma GCC unroll 4
  for (int k = 0; k < kKeys; ++k) dots[k][0] = dots[k][1] = vdupq_n_f32(0);
  for (int64_t g = 0; g < groups; ++g, codes += 8 * kQuadBytes) {
    int32x4_t sums[kKeys][2];
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) sums[k][0] = sums[k][1] = vdupq_n_s32(0);
    add_quads(codes, keys, 0, g, sums);
    add_quads(codes, keys, 1, g, sums);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      const float32x4_t scale = vdupq_n_f32(keys.scales[k][g]);
      dots[k][0] = add_product(dots[k][0], vcvtq_f32_s32(sums[k][0]), scale);
      dots[k][1] = add_product(dots[k][1], vcvtq_f32_s32(sums[k][1]), scale);
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const float32x4_t weights = vld1q_f32(query.weights + head + 4 * v);
#pragma GCC unroll 4
    for (int k = 0; k < kKeys; ++k) {
      // Of a number and a NaN, the number: as `dot > 0 ? dot : 0`.
      const float32x4_t positive = vmaxnmq_f32(dots[k][v], vdupq_n_f32(0));
      lanes[k][v] = add_product(lanes[k][v], weights, positive);
    }
  }
}

void index_scores(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                  int64_t count, float* out) noexcept {
  DecodedKeys decoded;
  for (int64_t j = 0; j < count; j += kKeys) {
    const int64_t last = count - 1 - j;  // repeated, where fewer than kKeys are left
    for (int k = 0; k < kKeys; ++k) {
      decode(keys + (j + (k < last ? k : last)) * stride, query.dim, k, decoded);
    }
    float32x4_t lanes[2][kKeys][2];
    for (int k = 0; k < kKeys; ++k) {
      lanes[0][k][0] = lanes[0][k][1] = lanes[1][k][0] = lanes[1][k][1] = vdupq_n_f32(0);
    }
    for (int64_t head = 0; head < query.heads; head += kIndexHeadLanes) {
      add_heads(query, head, decoded, lanes[0]);
      add_heads(query, head + kHeads, decoded, lanes[1]);
    }
    for (int k = 0; k < kKeys && k <= last; ++k) {
      const float32x4_t all[4] = {lanes[0][k][0], lanes[0][k][1], lanes[1][k][0], lanes[1][k][1]};
      out[j + k] = sum_lanes(all);
    }
  }
}

}  // namespace

void install_neon_index_scores(KernelTable& table) noexcept {
  table.index_scores = index_scores;
}

}  // namespace lethe::kernels
