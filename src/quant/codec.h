#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quant/weight.h"

// What the program knows of an encoding, in one table (codec.cpp). A new block type is an
// enumerator in weight.h and tensor/dtype.h, a format (code_group.h) and one entry.

namespace lethe::quant {

/// Decodes `blocks` consecutive blocks to f32. Pure; never fails: every bit pattern decodes.
using DecodeBlocks = void (*)(const std::byte* data, int64_t blocks, float* out) noexcept;

struct Codec {
  Encoding encoding;
  DType dtype;  ///< of the tensor that holds the codes
  std::string_view name;
  int64_t block;        ///< elements per block; 1 where a row may be cut anywhere
  DecodeBlocks decode;  ///< null where the scales are in a second tensor
};

const Codec& codec(Encoding encoding);
/// The codec of a dtype that decodes on its own; null if there is none.
const Codec* codec_of_dtype(DType dtype);

}  // namespace lethe::quant
