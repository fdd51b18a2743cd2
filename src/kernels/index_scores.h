#pragma once

#include <cstddef>
#include <cstdint>

// Scores of the lightning indexer from index keys as they are stored: the arithmetic of `fast`.

namespace lethe::kernels {

inline constexpr int64_t kIndexGroup = 32;      ///< dims that share a scale of a key
inline constexpr int64_t kIndexHeadLanes = 16;  ///< heads are padded to a multiple of this
inline constexpr int64_t kMaxIndexDim = 512;

/// What is added to twice an e2m1 value, -12 .. 12, to make it unsigned.
inline constexpr int kIndexKeyOffset = 12;

/// A dword of key codes holds 8 dims, low nibbles even, so four codes that are taken at once lie
/// two apart: dim of element m of quad i (0 .. 7) within a group of 32.
constexpr int64_t index_quad_dim(int64_t i, int64_t m) noexcept {
  return 8 * (i % 4) + 2 * m + i / 4;
}

/// One query, prepared once: each head as int8 codes with one scale.
struct IndexQueryCodes {
  int64_t heads = 0;  ///< padded with heads of weight 0 to a multiple of kIndexHeadLanes
  int64_t dim = 0;    ///< a multiple of kIndexGroup, at most kMaxIndexDim
  const int8_t* codes = nullptr;    ///< [heads / 16][dim / 32][8 quads][16 heads][4]
  const int32_t* biases = nullptr;  ///< [heads / 16][dim / 32][16]: -12 * sum of a group's codes
  const float* weights = nullptr;   ///< [heads]: the head's weight * scale of its codes / 2
};

/// out[j] = sum_h weights_h * max(0, d_hj) for `count` keys, key j at keys + j * stride: dim / 2
/// bytes of e2m1 codes (low nibble = even dim), then dim / 32 e8m0 scales.
/// d = sum_g scale_g * S_g with S_g the exact integer sum of code products (the key's doubled),
/// f32, in the order of groups. Heads are added in 16 lanes, unfused (kernel_table.h). All sets
/// give the same bits.
using IndexScores = void (*)(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                             int64_t count, float* out) noexcept;

}  // namespace lethe::kernels
