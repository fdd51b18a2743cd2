#pragma once

#include "tensor/checkpoint.h"
#include "tensor/cost_model.h"

namespace lethe::apps {

/// The weights of a checkpoint by part, in the encodings that its files really use.
WeightCosts checkpoint_weight_costs(const Checkpoint& checkpoint);

/// Memory of one sequence's state with so many tokens taken in, bytes.
int64_t state_bytes(const ModelConfig& config, int64_t tokens);

}  // namespace lethe::apps
