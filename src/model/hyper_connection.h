#pragma once

#include <string>
#include <vector>

#include "model/trace.h"
#include "model/weight_loader.h"
#include "ops/hyper_mix.h"

namespace lethe::model {

/// The hyper-connection of one sublayer: how the m residual streams are reduced to its input and
/// how its output is spread over them. Source: spec V4 4.1, V4.1 section 4.
class HyperConnection {
 public:
  /// Reads NAME_fn, NAME_base, NAME_scale ("layers.3.hc_attn").
  HyperConnection(const WeightLoader& loader, const std::string& name);

  /// pre, post, comb from the streams [tokens, m * dim].
  ops::HyperMix mix(const ops::Device& device, const ops::Matrix& streams) const {
    return ops::hyper_mix(device, streams, params_);
  }
  /// V4's output head: `pre` alone.
  ops::Matrix head_mix(const ops::Device& device, const ops::Matrix& streams) const {
    return ops::hyper_head_mix(device, streams, params_);
  }

 private:
  std::vector<float> base_;
  std::vector<float> scale_;
  ops::HyperMixParams params_;
};

/// Names the coefficients PREFIX_pre, PREFIX_post, PREFIX_comb for a trace.
void trace_mix(const TraceScope& trace, const char* prefix, const ops::HyperMix& mix);

/// Every stream starts as the token's embedding: [tokens, dim] -> [tokens, m * dim].
ops::Matrix repeat_streams(const ops::Matrix& embedded, int64_t m);

}  // namespace lethe::model
