#pragma once

#include <cstddef>
#include <cstdint>

// Attention of many heads to one list of keys, which are their values too: the arithmetic of
// `fast`. Each row is decoded once, for all heads.

namespace lethe::kernels {

/// How a cached row is kept (ops::RowCodec): fp8: dim - bf16_tail e4m3 codes in groups of
/// fp8_group, their e8m0 scales, bf16_tail bf16 values; fp4: dim / 2 bytes of e2m1 codes (low
/// nibble = even element), then an e4m3 scale per 16 of them.
struct KeyLayout {
  bool fp4 = false;
  int32_t fp8_group = 0;
  int32_t bf16_tail = 0;
};

struct AttentionKey {
  const std::byte* data = nullptr;
  const KeyLayout* layout = nullptr;
};

/// Heads of one query: q, f32 [heads][dim].
struct AttentionQuery {
  const float* q = nullptr;
  int64_t heads = 0;
  int64_t dim = 0;
  float scale = 0;  ///< of the scores, positive
};

inline constexpr int64_t kAttentionLanes = 16;     ///< heads and dims are padded to a multiple
inline constexpr int64_t kAttentionSegment = 512;  ///< keys that one call takes at most

constexpr int64_t padded_lanes(int64_t n) noexcept {
  return (n + kAttentionLanes - 1) / kAttentionLanes * kAttentionLanes;
}

/// A softmax that is not divided yet, per head: sums = sum_i e^(s_i - max) kv_i, denominator =
/// sum_i e^(s_i - max). Heads and dims past the query's are padding, of any value.
struct AttentionSums {
  float* max = nullptr;          ///< [padded heads]
  float* denominator = nullptr;  ///< [padded heads]
  float* sums = nullptr;         ///< [padded heads][padded dim]
};

/// Room for one call, in bytes; at 64-byte boundaries.
constexpr int64_t attention_scratch_bytes(int64_t heads, int64_t dim) noexcept {
  constexpr int64_t kBlockKeys = 64;
  const int64_t h = padded_lanes(heads);
  const int64_t d = padded_lanes(dim);
  return 4 * (h * d + 2 * kBlockKeys * d + 2 * kBlockKeys * h + h + kAttentionSegment) + 512;
}

/// Writes `out` for keys[0, count), 1 <= count <= kAttentionSegment: s_i = scale * (q . k_i) with
/// q rounded to bf16 and rows as decoded (bf16 holds them exactly), e^ rounded to bf16 where it
/// multiplies a value, all sums f32. Keys are taken in blocks of 64 with a running max. A head's
/// result depends on its own q and the keys only. The sets differ in the order of sums over dims
/// and within pairs of keys, in fusing, and in e^ (each within 2 units in the last place): see
/// docs/kernels.md for the tolerance.
using Attend = void (*)(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
                        const AttentionSums& out, std::byte* scratch) noexcept;

}  // namespace lethe::kernels
