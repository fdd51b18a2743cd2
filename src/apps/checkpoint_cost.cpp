#include "apps/checkpoint_cost.h"

namespace lethe::apps {

namespace {

/// Bytes of a weight and its scales; two matrices may share a tensor.
int64_t stored_bytes(const StoredWeight& weight) {
  auto bytes = static_cast<int64_t>(weight.tensor.data.size());
  if (weight.cols >= 0) bytes = bytes / weight.tensor.shape.back() * weight.cols;
  return bytes + (weight.scale ? static_cast<int64_t>(weight.scale->data.size()) : 0);
}

}  // namespace

WeightCosts checkpoint_weight_costs(const Checkpoint& checkpoint) {
  const auto stored = [&checkpoint](const TensorSpec& spec) -> std::optional<int64_t> {
    const std::optional<StoredWeight> weight = checkpoint.find(spec.name);
    if (!weight) return std::nullopt;
    return stored_bytes(*weight);
  };
  return weight_costs(checkpoint.config(), stored);
}

int64_t state_bytes(const ModelConfig& config, int64_t tokens) {
  const CacheCost cost = cache_cost(config, CacheFormat::Served);
  return static_cast<int64_t>(cost.total(tokens)) + cost.pending;
}

}  // namespace lethe::apps
