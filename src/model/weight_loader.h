#pragma once

#include <string>
#include <vector>

#include "model/expert_cache.h"
#include "ops/experts.h"
#include "ops/linear.h"
#include "tensor/checkpoint.h"

namespace lethe::model {

/// Fetches a checkpoint's tensors by their official names, in the form modules hold them: matrices
/// as views of the mapped file, small vectors decoded to f32. Throws LoadError.
class WeightLoader {
 public:
  /// With `expert_cache`, routed experts belong to it.
  explicit WeightLoader(const Checkpoint& checkpoint, ExpertCache* expert_cache = nullptr)
      : checkpoint_(&checkpoint), expert_cache_(expert_cache) {}

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
  /// The same with the places of its bytes in the files.
  StoredExpert stored_expert(const std::string& prefix) const;
  /// Null: experts are used where they are mapped.
  ExpertCache* expert_cache() const noexcept { return expert_cache_; }

 private:
  const Checkpoint* checkpoint_;
  ExpertCache* expert_cache_;
};

}  // namespace lethe::model
