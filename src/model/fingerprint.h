#pragma once

#include <cstdint>

#include "ops/numerics.h"
#include "tensor/model_config.h"

namespace lethe::model {

/// A number that differs between models whose saved states must not be mixed: a hash over every
/// field of the configuration that shapes the forward pass, and the numerics mode. Weights are not
/// looked at: a cache on disk adds its own identity of the file.
uint64_t fingerprint(const ModelConfig& config, ops::Numerics numerics);

}  // namespace lethe::model
