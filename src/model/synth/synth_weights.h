#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/synth/synth_config.h"
#include "model/synth/tensor_source.h"
#include "tensor/inventory.h"

namespace lethe::synth {

/// A tensor to write: what it is, and how to make its bytes (called when its turn comes).
struct OutputTensor {
  TensorPlan plan;
  std::function<TensorSourcePtr()> make;
};

/// Scale of a random weight: matrices 1/sqrt(in) or a little more, norms near 1, small
/// hyper-connection mixes, so that activations stay of order 1 through all layers.
Distribution weight_distribution(const TensorSpec& spec);

/// A tensor of the release with its scales, in the released formats.
std::vector<OutputTensor> released_outputs(const ModelConfig& config, const TensorSpec& spec,
                                           uint64_t seed);

/// Type of a tensor in a GGUF, as the stock converter chooses it: vectors F32, BF16 matrices BF16,
/// the FP8 ones and Engram tables `dense`, experts `expert`, ids I32.
DType gguf_dtype(const TensorSpec& spec, DType expert, DType dense);

/// A tensor of a GGUF: `name` and `shape` as the file has them (experts stacked [E, out, in]), the
/// numbers as for `spec`. Throws UsageError if a row is no whole number of blocks.
OutputTensor gguf_output(const ModelConfig& config, const TensorSpec& spec, std::string name,
                         Shape shape, DType dtype, uint64_t seed);

}  // namespace lethe::synth
