#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernel_table.h"

namespace lethe::kernels {

/// What buffers are made of: no vector reaches into two lines.
union alignas(64) CacheLine {
  float f32[16];
  uint16_t bf16[32];
};

/// The activations of several tokens in the form that row dots read, prepared once and then used
/// with every weight row. Owns its buffers, which a further reset() uses again; reading is safe
/// from any thread.
class ActivationBatch {
 public:
  ActivationBatch() = default;
  /// reset() and then fill() of all.
  ActivationBatch(ActivationFormat format, const float* x, int64_t tokens, int64_t n,
                  int64_t stride);

  /// Takes a view of x: f32 [tokens, n], row t at x + t * stride; it must live until fill() is
  /// done, and if the format is F32 as long as the batch is used.
  void reset(ActivationFormat format, const float* x, int64_t tokens, int64_t n, int64_t stride);
  /// Converts tokens [begin, end). Different ranges may be filled by different threads.
  void fill(const KernelTable& kernels, int64_t begin, int64_t end);

  ActivationFormat format() const noexcept { return format_; }
  int64_t columns() const noexcept { return n_; }
  const Activation* data() const noexcept { return tokens_.data(); }
  int64_t size() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  const Activation& operator[](int64_t t) const noexcept { return tokens_[static_cast<size_t>(t)]; }

 private:
  ActivationFormat format_ = ActivationFormat::F32;
  const float* x_ = nullptr;
  int64_t n_ = 0;
  int64_t stride_ = 0;
  std::vector<Activation> tokens_;
  std::vector<CacheLine> bf16_;
  std::vector<int8_t> codes_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
};

/// Tiles of up to 16 tokens (kernels/tile_dot.h). Owns its buffers, which a further reset() uses
/// again; reading is safe from any thread.
class ActivationTiles {
 public:
  /// Room for `tiles` tiles of tokens of n columns, none of which has a token yet.
  void reset(TileForm form, int64_t tiles, int64_t n);
  /// Adds a token to a tile that has fewer than 16. Its own buffers must live as long as the tiles
  /// are used. With Int8 and Bf16 it may have nothing but its numbers (`f32`): fill() converts.
  void add(int64_t tile, const Activation& token);
  /// Prepares tiles [begin, end), once their tokens are added and filled. Any thread.
  void fill(const KernelTable& kernels, int64_t begin, int64_t end);

  int64_t size() const noexcept { return static_cast<int64_t>(counts_.size()); }
  ActivationTile tile(int64_t i) const noexcept;

 private:
  int64_t lines_each() const noexcept;

  TileForm form_ = TileForm::F32;
  int64_t n_ = 0;
  int64_t groups_ = 0;
  std::vector<int64_t> counts_;
  std::vector<Activation> tokens_;  // 16 places per tile
  std::vector<CacheLine> lines_;    // F32, Bf16
  std::vector<Int8TileGroup> int8_;
};

}  // namespace lethe::kernels
