#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "base/recycled_memory.h"

namespace lethe::ops {

/// An activation: row-major f32 [rows, cols], one row per token. In `official` numerics its values
/// lie on the bf16 grid wherever the reference holds bf16. A new matrix holds zeros, in memory that
/// is recycled.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : rows_(rows), cols_(cols), data_(static_cast<size_t>(rows * cols)) {}
  /// One whose values are about to be written: setting a large one to zero takes as long as reading
  /// it, and one thread alone would do it.
  static Matrix unset(int64_t rows, int64_t cols) {
    Matrix matrix;
    matrix.rows_ = rows;
    matrix.cols_ = cols;
    matrix.data_ = RecycledArray<float>(static_cast<size_t>(rows * cols), Unset());
    return matrix;
  }

  int64_t rows() const noexcept { return rows_; }
  int64_t cols() const noexcept { return cols_; }
  std::span<float> row(int64_t r) noexcept {
    LETHE_DCHECK(r >= 0 && r < rows_);
    return {data_.data() + r * cols_, static_cast<size_t>(cols_)};
  }
  std::span<const float> row(int64_t r) const noexcept {
    LETHE_DCHECK(r >= 0 && r < rows_);
    return {data_.data() + r * cols_, static_cast<size_t>(cols_)};
  }
  /// Part `index` of row r when a row is `parts` equal pieces (heads, hyper-connection streams).
  std::span<float> part(int64_t r, int64_t index, int64_t parts) noexcept {
    const auto size = static_cast<size_t>(cols_ / parts);
    return row(r).subspan(static_cast<size_t>(index) * size, size);
  }
  std::span<const float> part(int64_t r, int64_t index, int64_t parts) const noexcept {
    const auto size = static_cast<size_t>(cols_ / parts);
    return row(r).subspan(static_cast<size_t>(index) * size, size);
  }
  std::span<float> values() noexcept { return data_; }
  std::span<const float> values() const noexcept { return data_; }

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  RecycledArray<float> data_;
};

/// Integer companion: expert ids, selected entries.
class IndexMatrix {
 public:
  IndexMatrix() = default;
  IndexMatrix(int64_t rows, int64_t cols, int32_t fill = -1)
      : rows_(rows), cols_(cols), data_(static_cast<size_t>(rows * cols)) {
    std::ranges::fill(data_, fill);
  }
  int64_t rows() const noexcept { return rows_; }
  int64_t cols() const noexcept { return cols_; }
  std::span<int32_t> row(int64_t r) noexcept {
    return {data_.data() + r * cols_, static_cast<size_t>(cols_)};
  }
  std::span<const int32_t> row(int64_t r) const noexcept {
    return {data_.data() + r * cols_, static_cast<size_t>(cols_)};
  }
  std::span<const int32_t> values() const noexcept { return data_; }

 private:
  int64_t rows_ = 0;
  int64_t cols_ = 0;
  RecycledArray<int32_t> data_;
};

}  // namespace lethe::ops
