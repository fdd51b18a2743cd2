#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

// Small arithmetic of shapes and of lists of layers.
namespace lethe {

/// a / b rounded up; a >= 0, b > 0.
constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

/// Whether a list of layers or token ids has this one.
inline bool contains(const std::vector<int64_t>& ids, int64_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace lethe
