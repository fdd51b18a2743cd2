#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace lethe::synth {

/// A mix of two neighbouring powers of two (as e8m0 bytes) with a wanted root mean square.
struct PowerOfTwoMix {
  uint8_t low = 127;      ///< e8m0 of the smaller one
  uint32_t num_high = 0;  ///< of 256 draws, those that take the next larger one
  static PowerOfTwoMix of_rms(double rms);
  uint8_t pick(uint8_t draw) const noexcept {
    return static_cast<uint8_t>(low + (draw < num_high ? 1 : 0));
  }
};

/// Overwrites the scale fields of a ggml block of random bytes so that the numbers it decodes to
/// are zero-mean with a wanted standard deviation. Which of several scales a block gets is decided
/// by the random bytes that the scale replaces. Layouts: spec/formats.md section 5.
class BlockScales {
 public:
  /// Measures random blocks of that type (through quant::decode_blocks) to find the scales. Throws
  /// UsageError for a dtype that is no block encoding.
  static BlockScales for_std(DType dtype, double std);

  /// block: the dtype's block_bytes, every byte random.
  void apply(std::byte* block) const noexcept;

 private:
  enum class Kind { Half, HalfAndMin, E8m0, Ue4m3x4, SplitHalf };
  struct Layout {
    DType dtype;
    Kind kind;
    uint8_t d;     ///< offset of the f16 scale, or of the first scale byte
    uint8_t dmin;  ///< offset of the f16 offset scale (HalfAndMin)
  };
  static const Layout& layout_of(DType dtype);
  struct Moments;
  static Moments measure(const Layout& layout, float d, float dmin);

  void set_half_variants(double d, double dmin, bool alternate_sign);

  static constexpr size_t kVariants = 8;
  Layout layout_{DType::Q8_0, Kind::Half, 0, 0};
  std::array<uint16_t, kVariants> d_bits_{};
  std::array<uint16_t, kVariants> dmin_bits_{};
  PowerOfTwoMix bytes_;  ///< E8m0, Ue4m3x4: neighbouring scale codes
};

}  // namespace lethe::synth
