#pragma once

#include <string>
#include <vector>

#include "ops/experts.h"
#include "ops/linear.h"
#include "tensor/checkpoint.h"

namespace lethe::model {

/// Fetches a checkpoint's tensors by their official names, in the form modules hold them: matrices
/// as views of the mapped file, small vectors decoded to f32. Throws LoadError.
class WeightLoader {
 public:
  explicit WeightLoader(const Checkpoint& checkpoint) : checkpoint_(&checkpoint) {}

  const Checkpoint& checkpoint() const noexcept { return *checkpoint_; }
  const ModelConfig& config() const noexcept { return checkpoint_->config(); }

  /// NAME.weight as a matrix with the role it plays.
  ops::Linear linear(const std::string& name, ops::LinearRole role) const;
  /// A tensor by its full name, as a matrix view.
  quant::Weight matrix(const std::string& full_name) const;
  ops::Linear f32_matrix(const std::string& full_name) const;
  /// A tensor by its full name, decoded, row after row.
  std::vector<float> vector(const std::string& full_name) const;
  bool has(const std::string& full_name) const;

  /// PREFIX.w1 / .w3 / .w2.
  ops::ExpertWeights expert(const std::string& prefix) const;

 private:
  const Checkpoint* checkpoint_;
};

}  // namespace lethe::model
