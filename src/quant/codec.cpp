#include "quant/codec.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "quant/code_group.h"
#include "quant/fp_formats.h"
#include "quant/i_formats.h"
#include "quant/k_formats.h"
#include "quant/legacy_formats.h"
#include "tensor/rounding.h"

namespace lethe::quant {

namespace {

void decode_f32(const std::byte* data, int64_t count, float* out) noexcept {
  std::memcpy(out, data, static_cast<size_t>(count) * sizeof(float));
}

void decode_f16(const std::byte* data, int64_t count, float* out) noexcept {
  for (int64_t i = 0; i < count; ++i) out[i] = f16_to_f32(load_unaligned<uint16_t>(data + 2 * i));
}

void decode_bf16(const std::byte* data, int64_t count, float* out) noexcept {
  for (int64_t i = 0; i < count; ++i) out[i] = bf16_to_f32(load_unaligned<uint16_t>(data + 2 * i));
}

// Entry of a ggml block type.
template <typename Format>
constexpr Codec block_codec(Encoding encoding, std::string_view name) {
  return {encoding, Format::kDType, name, Format::kGroups * CodeGroup::kSize,
          decode_format<Format>};
}

constexpr std::array<Codec, kNumEncodings> kTable = {{
    {Encoding::F32, DType::F32, "F32", 1, decode_f32},
    {Encoding::F16, DType::F16, "F16", 1, decode_f16},
    {Encoding::BF16, DType::BF16, "BF16", 1, decode_bf16},
    {Encoding::Fp8Block, DType::F8_E4M3, "FP8 (block scales)", 1, nullptr},
    {Encoding::Fp4Row, DType::I8, "FP4 (row scales)", 32, nullptr},
    {Encoding::Fp8Row, DType::F8_E4M3, "FP8 (row scales)", 32, nullptr},
    block_codec<Q8_0>(Encoding::Q8_0, "Q8_0"),
    block_codec<Q4_0>(Encoding::Q4_0, "Q4_0"),
    block_codec<Q4_1>(Encoding::Q4_1, "Q4_1"),
    block_codec<Q5_0>(Encoding::Q5_0, "Q5_0"),
    block_codec<Q5_1>(Encoding::Q5_1, "Q5_1"),
    block_codec<MXFP4>(Encoding::MXFP4, "MXFP4"),
    block_codec<NVFP4>(Encoding::NVFP4, "NVFP4"),
    block_codec<IQ4_NL>(Encoding::IQ4_NL, "IQ4_NL"),
    block_codec<Q2_K>(Encoding::Q2_K, "Q2_K"),
    block_codec<Q3_K>(Encoding::Q3_K, "Q3_K"),
    block_codec<Q4_K>(Encoding::Q4_K, "Q4_K"),
    block_codec<Q5_K>(Encoding::Q5_K, "Q5_K"),
    block_codec<Q6_K>(Encoding::Q6_K, "Q6_K"),
    block_codec<IQ1_S>(Encoding::IQ1_S, "IQ1_S"),
    block_codec<IQ1_M>(Encoding::IQ1_M, "IQ1_M"),
    block_codec<IQ2_XXS>(Encoding::IQ2_XXS, "IQ2_XXS"),
    block_codec<IQ2_XS>(Encoding::IQ2_XS, "IQ2_XS"),
    block_codec<IQ2_S>(Encoding::IQ2_S, "IQ2_S"),
    block_codec<IQ3_XXS>(Encoding::IQ3_XXS, "IQ3_XXS"),
    block_codec<IQ3_S>(Encoding::IQ3_S, "IQ3_S"),
    block_codec<IQ4_XS>(Encoding::IQ4_XS, "IQ4_XS"),
}};

}  // namespace

const Codec& codec(Encoding encoding) {
  const Codec& entry = kTable[static_cast<size_t>(encoding)];
  LETHE_DCHECK(entry.encoding == encoding);
  return entry;
}

const Codec* codec_of_dtype(DType dtype) {
  for (const Codec& entry : kTable) {
    if (entry.decode != nullptr && entry.dtype == dtype) return &entry;
  }
  return nullptr;
}

std::string_view encoding_name(Encoding encoding) {
  return codec(encoding).name;
}
int64_t encoding_block(Encoding encoding) {
  return codec(encoding).block;
}

void decode_blocks(DType dtype, const std::byte* data, int64_t blocks, float* out) {
  const Codec* entry = codec_of_dtype(dtype);
  LETHE_CHECK(entry != nullptr, "no codec for {}", dtype_name(dtype));
  entry->decode(data, blocks, out);
}

}  // namespace lethe::quant
