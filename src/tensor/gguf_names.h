#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/inventory.h"
#include "tensor/model_config.h"

namespace lethe::internal {

/// Where a GGUF may keep an official tensor.
struct GgufPlace {
  std::string name;
  /// Official columns are [half * cols, (half + 1) * cols) of the stored ones; -1: all of them.
  int half = -1;
};

/// Names under which GGUF files keep the tensor of `spec`, the usual one first. A routed expert's
/// is that of the stack of all its layer's experts. `draft_file`: the file holds draft blocks only,
/// so the `output_hc_*` at its root are theirs. Source: spec/formats.md section 4.
std::vector<GgufPlace> gguf_places(const TensorSpec& spec, const ModelConfig& config,
                                   bool draft_file);

/// The GGUF name of an Engram table's scales, for a table in two tensors.
std::string gguf_engram_scale(const TensorSpec& spec);

/// Tensors that carry nothing Lethe needs: what a draft file repeats of the trunk, vision biases,
/// and the tables of rotary factors that some converters write.
bool is_ignorable_gguf_tensor(std::string_view name);

}  // namespace lethe::internal
