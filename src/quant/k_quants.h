#pragma once

#include <cstdint>

// Fields of the K-quant blocks that decoders and integer kernels both need.
// Source: spec/formats.md section 5.

namespace lethe::quant {

/// Scale and minimum of one group of 32 elements, 6 bits each.
struct ScaleMin {
  int scale;
  int min;
};

/// Entry g (0..7) of the 12 packed bytes of Q4_K and Q5_K: the first four pairs are whole bytes'
/// low 6 bits, the last four are nibbles completed by the top bits of the first.
inline ScaleMin scale_min_of(const uint8_t* packed, int g) noexcept {
  if (g < 4) return {packed[g] & 63, packed[g + 4] & 63};
  return {(packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4, (packed[g + 4] >> 4) | (packed[g] >> 6)
                                                                                       << 4};
}

}  // namespace lethe::quant
