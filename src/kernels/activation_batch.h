#pragma once

#include <cstdint>
#include <vector>

#include "kernels/row_dot.h"

namespace lethe::kernels {

/// The activations of several tokens in the form that row dots read, prepared once and then used
/// with every weight row. Owns its buffers; reading is safe from any thread.
class ActivationBatch {
 public:
  /// Keeps a view of x for F32, else converts. x: f32 [tokens, n], row t at x + t * stride; it must
  /// outlive the batch if the format is F32.
  ActivationBatch(ActivationFormat format, const float* x, int64_t tokens, int64_t n,
                  int64_t stride);

  const Activation* data() const noexcept { return tokens_.data(); }
  int64_t size() const noexcept { return static_cast<int64_t>(tokens_.size()); }
  const Activation& operator[](int64_t t) const noexcept { return tokens_[static_cast<size_t>(t)]; }

 private:
  void convert_to_bf16(const float* x, int64_t n, int64_t stride);
  void convert_to_int8(const float* x, int64_t n, int64_t stride);

  std::vector<Activation> tokens_;
  std::vector<uint16_t> bf16_;
  std::vector<int8_t> codes_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
};

}  // namespace lethe::kernels
