#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/device.h"
#include "tensor/model_config.h"

namespace lethe::ops {

/// Rotary position embedding of one layer: adjacent pairs (2i, 2i+1) of the LAST rope_dim values of
/// a head, turned by pos * f_i. The angle is the f32 product f32(pos) * f_i, then an accurate
/// sin/cos of it. Source: spec V4 section 3 RoPE, V4.1 section 3.
class RopeTable {
 public:
  /// f_i = theta^(-2i/rope_dim), stretched by YaRN if yarn.original_max_position_embeddings > 0.
  RopeTable(int64_t rope_dim, double theta, const YarnConfig& yarn);

  int64_t rope_dim() const noexcept { return static_cast<int64_t>(frequencies_.size()) * 2; }
  std::span<const float> frequencies() const noexcept { return frequencies_; }  // [rope_dim / 2]

  /// cos and sin at a position, each [rope_dim / 2].
  void angles(int64_t position, std::span<float> cos, std::span<float> sin) const;

 private:
  std::vector<float> frequencies_;
};

/// Rotates the tail of one head in place; `inverse` un-rotates (conjugate). f32 arithmetic, one
/// rounding point at the store. head: [head_dim].
void rope_row(const Device& device, std::span<float> head, const RopeTable& table, int64_t position,
              bool inverse = false);

/// The same for `heads` heads in each row of x; positions: one per row.
void rope(const Device& device, Matrix& x, int64_t heads, const RopeTable& table,
          std::span<const int64_t> positions, bool inverse = false);
/// The same after head_rms_norm of each head: V4's queries, which are too large to pass by twice.
void norm_and_rope(const Device& device, Matrix& x, int64_t heads, double eps,
                   const RopeTable& table, std::span<const int64_t> positions);

}  // namespace lethe::ops
