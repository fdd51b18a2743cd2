#include "ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ops/norm.h"
#include "ops/profile.h"

namespace lethe::ops {

namespace {

/// f_i in the f32 steps of the reference: exponent, power (correctly rounded), reciprocal.
std::vector<float> plain_frequencies(int64_t rope_dim, double theta) {
  std::vector<float> f(static_cast<size_t>(rope_dim / 2));
  for (size_t i = 0; i < f.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope_dim);
    f[i] = 1.0f / static_cast<float>(std::pow(theta, static_cast<double>(exponent)));
  }
  return f;
}

/// The pair index at which a wave makes `turns` turns over the original context.
double correction_dim(double turns, int64_t rope_dim, double theta, double original) {
  return static_cast<double>(rope_dim) * std::log(original / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

void stretch(std::vector<float>& f, int64_t rope_dim, double theta, const YarnConfig& yarn) {
  const auto original = static_cast<double>(yarn.original_max_position_embeddings);
  const double low =
      std::max(std::floor(correction_dim(yarn.beta_fast, rope_dim, theta, original)), 0.0);
  double high = std::min(std::ceil(correction_dim(yarn.beta_slow, rope_dim, theta, original)),
                         static_cast<double>(rope_dim - 1));
  if (high == low) high += 0.001;
  for (size_t i = 0; i < f.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    f[i] = f[i] / static_cast<float>(yarn.factor) * ramp + f[i] * (1.0f - ramp);
  }
}

}  // namespace

RopeTable::RopeTable(int64_t rope_dim, double theta, const YarnConfig& yarn)
    : frequencies_(plain_frequencies(rope_dim, theta)) {
  LETHE_CHECK(rope_dim > 0 && rope_dim % 2 == 0);
  if (yarn.original_max_position_embeddings > 0) stretch(frequencies_, rope_dim, theta, yarn);
}

void RopeTable::angles(int64_t position, std::span<float> cos, std::span<float> sin) const {
  for (size_t i = 0; i < frequencies_.size(); ++i) {
    const auto angle = static_cast<double>(static_cast<float>(position) * frequencies_[i]);
    cos[i] = static_cast<float>(std::cos(angle));
    sin[i] = static_cast<float>(std::sin(angle));
  }
}

namespace {

void rotate(std::span<float> tail, std::span<const float> cos, std::span<const float> sin,
            bool inverse) {
  for (size_t i = 0; i < cos.size(); ++i) {
    const float s = inverse ? -sin[i] : sin[i];
    const float re = tail[2 * i];
    const float im = tail[2 * i + 1];
    tail[2 * i] = re * cos[i] - im * s;
    tail[2 * i + 1] = re * s + im * cos[i];
  }
}

struct Angles {
  RecycledVector<float> cos;
  RecycledVector<float> sin;
  Angles(const RopeTable& table, int64_t position)
      : cos(table.frequencies().size()), sin(table.frequencies().size()) {
    table.angles(position, cos, sin);
  }
};

}  // namespace

void rope_row(const Device& device, std::span<float> head, const RopeTable& table, int64_t position,
              bool inverse) {
  const Angles angles(table, position);
  const std::span<float> tail = head.last(static_cast<size_t>(table.rope_dim()));
  rotate(tail, angles.cos, angles.sin, inverse);
  device.store_bf16(tail);
}

namespace {

/// Turns the heads of each row, after prepare(head).
template <typename Prepare>
void rope_heads(const Device& device, Matrix& x, int64_t heads, const RopeTable& table,
                std::span<const int64_t> positions, bool inverse, Prepare prepare) {
  const ProfileScope profile(device, Part::Mixing);
  LETHE_CHECK(static_cast<int64_t>(positions.size()) == x.rows());
  device.for_rows(x.rows(), [&](int64_t r) {
    const Angles angles(table, positions[static_cast<size_t>(r)]);
    for (int64_t h = 0; h < heads; ++h) {
      const std::span<float> head = x.part(r, h, heads);
      prepare(head);
      const std::span<float> tail = head.last(static_cast<size_t>(table.rope_dim()));
      rotate(tail, angles.cos, angles.sin, inverse);
      device.store_bf16(tail);
    }
  });
}

}  // namespace

void rope(const Device& device, Matrix& x, int64_t heads, const RopeTable& table,
          std::span<const int64_t> positions, bool inverse) {
  rope_heads(device, x, heads, table, positions, inverse, [](std::span<float>) {});
}

void norm_and_rope(const Device& device, Matrix& x, int64_t heads, double eps,
                   const RopeTable& table, std::span<const int64_t> positions) {
  rope_heads(device, x, heads, table, positions, /*inverse=*/false,
             [&](std::span<float> head) { head_rms_norm(device, head, eps); });
}

}  // namespace lethe::ops
