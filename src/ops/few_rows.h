#pragma once

#include <cstdint>

#include "base/recycled_memory.h"
#include "ops/device.h"
#include "ops/linear.h"
#include "ops/matrix.h"

namespace lethe::ops {

/// An f32 matrix of few but long rows, packed once for many tokens (kernels/few_rows.h).
class FewRows {
 public:
  /// Whether products of so many tokens with `w` gain by it on this device.
  static bool takes(const Device& device, const Linear& w, int64_t tokens);

  /// Packs the rows, with the team. `w` must be one that takes() accepts.
  FewRows(const Device& device, const Linear& w);
  FewRows(const FewRows&) = delete;
  FewRows& operator=(const FewRows&) = delete;

  /// out rows [begin, end), at most kernels::kFewRowsTokens of them, = the rows of x times the
  /// matrix: the bits of linear(). x: [tokens, in], out: [tokens, rows of w]. Any thread.
  void multiply(const Matrix& x, int64_t begin, int64_t end, Matrix& out) const;

 private:
  const Device& device_;
  int64_t rows_;
  int64_t columns_;
  RecycledArray<float> room_;
  float* packed_ = nullptr;  // in room_, on a cache line
};

}  // namespace lethe::ops
