#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace lethe::synth {

/// Mean and standard deviation of the numbers of a weight.
struct Distribution {
  double mean = 0;
  double std = 1;
};

/// The bytes of one random tensor, produced by position. Any cut into pieces that begin at a
/// multiple of `granule()` gives the same bytes. Pure; any thread.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// Pieces begin at multiples of this many bytes.
  virtual uint64_t granule() const = 0;
  virtual void fill(uint64_t begin, std::span<std::byte> out) const = 0;
};
using TensorSourcePtr = std::unique_ptr<const TensorSource>;

/// Normally distributed numbers in F32, BF16, F16 or a ggml block type. Blocks are random in every
/// field but their scales, which are set so that the decoded numbers have this distribution's std
/// (their mean is 0). Throws UsageError for a dtype that holds no numbers of its own, or for a mean
/// that a block type cannot have.
TensorSourcePtr random_numbers(DType dtype, Distribution distribution, uint64_t seed,
                               std::string_view name);

/// A weight of the release in two tensors, zero-mean with this std.
struct ScaledSources {
  TensorSourcePtr codes;
  TensorSourcePtr scales;  ///< E8M0
};
ScaledSources random_fp8(double std, uint64_t seed, std::string_view name);
ScaledSources random_fp4(double std, uint64_t seed, std::string_view name);

/// Rows of `k` distinct expert ids below `num_experts`, as I64 or I32.
TensorSourcePtr random_expert_ids(DType dtype, int64_t k, int64_t num_experts, uint64_t seed,
                                  std::string_view name);

/// True for the block types that random_numbers can fill.
bool is_block_encoding(DType dtype);

}  // namespace lethe::synth
