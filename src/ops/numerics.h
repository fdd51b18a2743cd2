#pragma once

#include <cstdint>
#include <string_view>

namespace lethe::ops {

/// Which arithmetic a forward pass uses; all run the same graph (docs/numerics.md).
enum class Numerics : uint8_t {
  F32,        ///< ideal: decoded weights, f32 activations and cache, no rounding, no quantization
  F32Served,  ///< F32, but for the cache, which is in served precision as in the next two
  Official,   ///< the rounding points of the official implementation, sums accumulated in f64
  Fast,       ///< int8 / bf16 dot products, cache in served precision; the default
};

/// "f32", "f32-served", "official", "fast"; throws UsageError for anything else.
Numerics parse_numerics(std::string_view name);
std::string_view numerics_name(Numerics numerics);

}  // namespace lethe::ops
