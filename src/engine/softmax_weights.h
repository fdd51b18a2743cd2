#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace lethe::engine {

/// The logit of a token that cannot be chosen is -kInfinity.
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Smallest and largest of a row of logits.
struct LogitRange {
  float min = 0;
  float max = 0;        ///< -infinity: no token is left
  bool is_sane = true;  ///< neither NaN nor +infinity among them
};
LogitRange logit_range(std::span<const float> logits);

/// Unnormalized softmax of a row: weight(l) = exp((l - max) / temperature) in double, to within
/// 1e-11 of its value; 0 below `least` and below exp(-700). Pure; any thread.
class SoftmaxWeights {
 public:
  /// Logits per call of fill(); also the grain at which sum() and draw() add up.
  static constexpr size_t kBlock = 512;

  /// temperature > 0; `max` is the largest logit of the row.
  SoftmaxWeights(float max, double temperature, double least = 0);

  /// logits: [n], weights: [n], n <= kBlock.
  void fill(std::span<const float> logits, double* weights) const;
  /// (max - logit) / temperature: falls as the logit grows.
  double gap(float logit) const { return (max_ - static_cast<double>(logit)) * inverse_; }

  double sum(std::span<const float> logits) const;
  /// The index where the running sum of weights passes `uniform` (in [0, 1)) times their sum. The
  /// row holds at least one positive weight.
  size_t draw(std::span<const float> logits, double uniform) const;

 private:
  double max_;
  double inverse_;  ///< 1 / temperature, finite
  double least_;
};

}  // namespace lethe::engine
