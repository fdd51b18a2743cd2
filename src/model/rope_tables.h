#pragma once

#include "ops/rope.h"
#include "tensor/model_config.h"

namespace lethe::model {

/// The two rotary tables of a model: layers with ratio 0 (and draft blocks) use `window`, all
/// others `compressed`, for everything they rotate.
struct RopeTables {
  ops::RopeTable window;
  ops::RopeTable compressed;
  explicit RopeTables(const ModelConfig& config)
      : window(config.qk_rope_head_dim, config.rope_theta, YarnConfig{}),
        compressed(config.qk_rope_head_dim, config.compress_rope_theta, config.yarn) {}
  const ops::RopeTable& of_ratio(int64_t ratio) const { return ratio == 0 ? window : compressed; }
};

}  // namespace lethe::model
