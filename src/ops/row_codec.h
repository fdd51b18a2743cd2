#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/numerics.h"

namespace lethe::ops {

/// How one cached row (a key=value vector, or an index key) is kept: the precision it is served in.
/// Encoding is the reference's fake quantization, so decoding gives exactly its values; only the
/// scales of Fp4 are chosen better in `fast`.
/// Source: spec V4 sections 3, 4.3 and 7, V4.1 sections 3, 4 and 5. Pure; any thread.
class RowCodec {
 public:
  enum class Kind : uint8_t {
    F32,          ///< `f32` numerics: as computed
    Fp8RopeBf16,  ///< V4 entries: e4m3 in groups of 64 with e8m0 scales; the rope part bf16
    Fp8,          ///< V4.1 window: e4m3 in groups of 32 with e8m0 scales, rope part included
    Fp4,          ///< index keys: e2m1 in groups of 32 with e8m0 scales
    Fp4E4m3,      ///< V4.1 compressed rows: e2m1 in groups of 16 with e4m3 scales
  };

  RowCodec() = default;
  /// `served` applies in all numerics but `f32`, which keeps F32.
  RowCodec(Numerics numerics, Kind served, int64_t dim, int64_t rope_dim);

  Kind kind() const noexcept { return kind_; }
  int64_t dim() const noexcept { return dim_; }
  int64_t rope_dim() const noexcept { return rope_dim_; }
  int64_t row_bytes() const noexcept { return row_bytes_; }
  void encode(const float* row, std::byte* out) const;  // row: [dim]
  void decode(const std::byte* in, float* row) const;   // row: [dim]

 private:
  Kind kind_ = Kind::F32;
  int64_t dim_ = 0;
  int64_t rope_dim_ = 0;
  int64_t row_bytes_ = 0;
  bool closest_ = false;  ///< `fast`: Fp4 scales by smallest error, not by the reference's rule
};

}  // namespace lethe::ops
