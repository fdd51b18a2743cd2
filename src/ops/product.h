#pragma once

#include <cstdint>
#include <span>

#include "kernels/activation_batch.h"
#include "ops/device.h"
#include "ops/linear.h"

// What linear() and the experts are made of: dot products of some rows of a weight with some
// tokens, in the numerics of a device, callable from inside a parallel region.

namespace lethe::ops {

/// The form in which a linear's products read activations on this device.
kernels::ActivationFormat input_format(const Device& device, const Linear& w);

/// The form in which its tiles hold them.
kernels::TileForm tile_form(const Device& device, const Linear& w);

/// True if products of so many tokens read tiles of them rather than tokens one by one. A matter
/// of speed: the results have the same bits.
bool takes_tiles(const Device& device, const Linear& w, int64_t tokens);

/// Tokens that are multiplied with a whole matrix before the next are: so many that decoding its
/// rows again is little beside it, few enough for their tiles to stay in the caches that cores
/// share.
inline constexpr int64_t kTokensTogether = 512;
static_assert(kTokensTogether % kernels::kTileTokens == 0);

/// As many, or fewer where a matrix has too few rows to keep the team busy: of `count` tokens, with
/// a matrix that makes `pieces` pieces of work.
int64_t tokens_together(const Device& device, int64_t pieces, int64_t count);

/// Tiles that hold so many tokens.
constexpr int64_t tiles_for(int64_t tokens) {
  return (tokens + kernels::kTileTokens - 1) / kernels::kTileTokens;
}

/// Fills tokens [begin, end) of a batch, and tiles of several batches, with the team if there is
/// enough to do.
void fill(const Device& device, kernels::ActivationBatch& batch, int64_t begin, int64_t end);
void fill(const Device& device, kernels::ActivationTiles& tiles, int64_t columns);

/// Rows of a weight that the calling thread is likely to read next.
struct NextRows {
  const Linear* w = nullptr;  ///< null: none
  int64_t begin = 0;
  int64_t end = 0;
};

/// A weight with tokens in its input format: as a list, or, if takes_tiles() says so, in tiles from
/// `first_tile` on, full but for the last. A view of them.
struct Product {
  const Device& device;
  const Linear& w;
  std::span<const kernels::Activation> tokens;
  const kernels::ActivationTiles* tiles = nullptr;
  int64_t first_tile = 0;

  /// out[t * out_stride + r - begin] = dot of row r with token t, for rows [begin, end). Any
  /// thread. Each output is one dot product in a fixed order. `next` are brought towards the cache
  /// while tiles are multiplied. Reads the weights nearest to the thread (Device::replicas).
  void rows(int64_t begin, int64_t end, float* out, int64_t out_stride, NextRows next = {}) const;
  /// The same with the weights where `w` says.
  void rows_as_given(int64_t begin, int64_t end, float* out, int64_t out_stride,
                     NextRows next) const;
};

/// Rows that one piece of work takes of `rows`, for products of so many tokens with rows of n that
/// are stored as those of w: enough to amortize handing it out, few enough that there are pieces
/// for all.
int64_t rows_per_piece(const Device& device, const Linear& w, int64_t rows, int64_t n,
                       int64_t tokens);

/// What follows rows [begin, end) of `w` for the thread that has them, when pieces are handed out
/// in order.
NextRows next_piece(const Device& device, const Linear& w, int64_t begin, int64_t end);

}  // namespace lethe::ops
