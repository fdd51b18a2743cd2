#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "quant/weight.h"

// What the program knows of an encoding, in one table (codec.cpp). A new encoding is an enumerator
// in weight.h, a decode function and one entry.

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

// plain_codecs.cpp
void decode_f32(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_f16(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_bf16(const std::byte* data, int64_t blocks, float* out) noexcept;
// legacy_blocks.cpp
void decode_q8_0(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q4_0(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q4_1(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q5_0(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q5_1(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq4_nl(const std::byte* data, int64_t blocks, float* out) noexcept;
// fp_blocks.cpp
void decode_mxfp4(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_nvfp4(const std::byte* data, int64_t blocks, float* out) noexcept;
// k_quants.cpp
void decode_q2_k(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q3_k(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q4_k(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q5_k(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_q6_k(const std::byte* data, int64_t blocks, float* out) noexcept;
// i_quants.cpp
void decode_iq1_s(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq1_m(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq2_xxs(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq2_xs(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq2_s(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq3_xxs(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq3_s(const std::byte* data, int64_t blocks, float* out) noexcept;
void decode_iq4_xs(const std::byte* data, int64_t blocks, float* out) noexcept;

}  // namespace lethe::quant
