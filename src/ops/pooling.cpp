#include "ops/pooling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace lethe::ops {

void softmax_pool(std::span<const PoolRow> rows, std::span<float> out) {
  thread_local std::vector<float> weights;
  weights.resize(rows.size());
  for (size_t c = 0; c < out.size(); ++c) {
    float largest = rows[0].gate[c];
    for (const PoolRow& row : rows) largest = std::max(largest, row.gate[c]);
    float denominator = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      weights[i] = std::exp(rows[i].gate[c] - largest);
      denominator += weights[i];
    }
    float sum = 0;
    for (size_t i = 0; i < rows.size(); ++i) sum += weights[i] / denominator * rows[i].value[c];
    out[c] = sum;
  }
}

void hadamard(const Device& device, std::span<float> x) {
  LETHE_CHECK(std::has_single_bit(x.size()));
  for (size_t half = 1; half < x.size(); half *= 2) {
    for (size_t base = 0; base < x.size(); base += 2 * half) {
      for (size_t i = base; i < base + half; ++i) {
        const float a = x[i];
        const float b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(x.size()));
  for (float& value : x) value *= scale;
  device.store_bf16(x);
}

}  // namespace lethe::ops
