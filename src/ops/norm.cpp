#include "ops/norm.h"

#include <cmath>

#include "ops/profile.h"
#include "ops/reference_sum.h"
#include "tensor/rounding.h"

namespace lethe::ops {

namespace {

float mean_square(const Device& device, std::span<const float> x) {
  const auto n = static_cast<int64_t>(x.size());
  const float sum = device.official() ? reference_sum_of_squares(x)
                                      : device.kernels().dot_f32(x.data(), x.data(), n);
  return sum / static_cast<float>(n);
}

}  // namespace

float inverse_rms(const Device& device, std::span<const float> x, double eps) {
  return 1.0f / std::sqrt(mean_square(device, x) + static_cast<float>(eps));
}

void rms_norm_row(const Device& device, std::span<float> x, std::span<const float> weight,
                  double eps) {
  LETHE_CHECK(x.size() == weight.size());
  const float scale = inverse_rms(device, x, eps);
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] * scale * weight[i];
  device.store_bf16(x);
}

void rms_norm(const Device& device, Matrix& x, std::span<const float> weight, double eps) {
  const ProfileScope profile(device, Part::Mixing);
  device.for_rows(x.rows(), [&](int64_t r) { rms_norm_row(device, x.row(r), weight, eps); });
}

namespace {

/// The reference normalizes query heads in bf16, step by step (spec V4 section 6).
void head_norm_official(std::span<float> head, double eps) {
  double sum = 0;
  for (const float value : head) sum += static_cast<double>(round_to_bf16(value * value));
  const float mean = round_to_bf16(static_cast<float>(sum / static_cast<double>(head.size())));
  const float shifted = round_to_bf16(mean + static_cast<float>(eps));
  const float scale = round_to_bf16(1.0f / std::sqrt(shifted));
  for (float& value : head) value = round_to_bf16(value * scale);
}

}  // namespace

void head_rms_norm(const Device& device, std::span<float> head, double eps) {
  if (device.official()) {
    head_norm_official(head, eps);
    return;
  }
  const float scale = inverse_rms(device, head, eps);
  for (float& value : head) value *= scale;
}

}  // namespace lethe::ops
