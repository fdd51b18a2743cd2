#include "model/weight_loader.h"

namespace lethe::model {

quant::Weight WeightLoader::matrix(const std::string& full_name) const {
  return quant::make_weight(checkpoint_->get(full_name), config().fp8_block);
}

ops::Linear WeightLoader::linear(const std::string& name, ops::LinearRole role) const {
  return {.weight = matrix(name + ".weight"), .role = role, .activation_group = config().fp8_block};
}

ops::Linear WeightLoader::f32_matrix(const std::string& full_name) const {
  return {.weight = matrix(full_name), .role = ops::LinearRole::F32};
}

std::vector<float> WeightLoader::vector(const std::string& full_name) const {
  const quant::Weight weight = matrix(full_name);
  std::vector<float> values(static_cast<size_t>(weight.rows * weight.cols));
  for (int64_t r = 0; r < weight.rows; ++r) {
    quant::decode_row(weight, r, values.data() + r * weight.cols);
  }
  return values;
}

bool WeightLoader::has(const std::string& full_name) const {
  return checkpoint_->find(full_name).has_value();
}

ops::ExpertWeights WeightLoader::expert(const std::string& prefix) const {
  return {.w1 = linear(prefix + ".w1", ops::LinearRole::Fp8),
          .w3 = linear(prefix + ".w3", ops::LinearRole::Fp8),
          .w2 = linear(prefix + ".w2", ops::LinearRole::Fp8)};
}

StoredExpert WeightLoader::stored_expert(const std::string& prefix) const {
  StoredExpert stored{.weights = expert(prefix), .parts = {}};
  for (const char* name : {".w1.weight", ".w3.weight", ".w2.weight"}) {
    const StoredWeight weight = checkpoint_->get(prefix + name);
    for (const TensorView* view : {&weight.tensor, weight.scale ? &*weight.scale : nullptr}) {
      if (view != nullptr) stored.parts.push_back({view->data, view->file, view->offset});
    }
  }
  return stored;
}

}  // namespace lethe::model
