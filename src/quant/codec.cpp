#include "quant/codec.h"

#include <array>

#include "base/check.h"

namespace lethe::quant {

namespace {

constexpr std::array<Codec, kNumEncodings> kTable = {{
    {Encoding::F32, DType::F32, "F32", 1, decode_f32},
    {Encoding::F16, DType::F16, "F16", 1, decode_f16},
    {Encoding::BF16, DType::BF16, "BF16", 1, decode_bf16},
    {Encoding::Fp8Block, DType::F8_E4M3, "FP8 (block scales)", 1, nullptr},
    {Encoding::Fp4Row, DType::I8, "FP4 (row scales)", 32, nullptr},
    {Encoding::Fp8Row, DType::F8_E4M3, "FP8 (row scales)", 32, nullptr},
    {Encoding::Q8_0, DType::Q8_0, "Q8_0", 32, decode_q8_0},
    {Encoding::Q4_0, DType::Q4_0, "Q4_0", 32, decode_q4_0},
    {Encoding::Q4_1, DType::Q4_1, "Q4_1", 32, decode_q4_1},
    {Encoding::Q5_0, DType::Q5_0, "Q5_0", 32, decode_q5_0},
    {Encoding::Q5_1, DType::Q5_1, "Q5_1", 32, decode_q5_1},
    {Encoding::MXFP4, DType::MXFP4, "MXFP4", 32, decode_mxfp4},
    {Encoding::NVFP4, DType::NVFP4, "NVFP4", 64, decode_nvfp4},
    {Encoding::IQ4_NL, DType::IQ4_NL, "IQ4_NL", 32, decode_iq4_nl},
    {Encoding::Q2_K, DType::Q2_K, "Q2_K", 256, decode_q2_k},
    {Encoding::Q3_K, DType::Q3_K, "Q3_K", 256, decode_q3_k},
    {Encoding::Q4_K, DType::Q4_K, "Q4_K", 256, decode_q4_k},
    {Encoding::Q5_K, DType::Q5_K, "Q5_K", 256, decode_q5_k},
    {Encoding::Q6_K, DType::Q6_K, "Q6_K", 256, decode_q6_k},
    {Encoding::IQ1_S, DType::IQ1_S, "IQ1_S", 256, decode_iq1_s},
    {Encoding::IQ1_M, DType::IQ1_M, "IQ1_M", 256, decode_iq1_m},
    {Encoding::IQ2_XXS, DType::IQ2_XXS, "IQ2_XXS", 256, decode_iq2_xxs},
    {Encoding::IQ2_XS, DType::IQ2_XS, "IQ2_XS", 256, decode_iq2_xs},
    {Encoding::IQ2_S, DType::IQ2_S, "IQ2_S", 256, decode_iq2_s},
    {Encoding::IQ3_XXS, DType::IQ3_XXS, "IQ3_XXS", 256, decode_iq3_xxs},
    {Encoding::IQ3_S, DType::IQ3_S, "IQ3_S", 256, decode_iq3_s},
    {Encoding::IQ4_XS, DType::IQ4_XS, "IQ4_XS", 256, decode_iq4_xs},
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
