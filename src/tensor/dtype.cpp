#include "tensor/dtype.h"

#include <array>

#include "base/check.h"

namespace lethe {

namespace {

constexpr std::array<DTypeInfo, kNumDTypes> kTable = {{
    {DType::F64, "F64", "F64", 28, 1, 8},
    {DType::F32, "F32", "F32", 0, 1, 4},
    {DType::F16, "F16", "F16", 1, 1, 2},
    {DType::BF16, "BF16", "BF16", 30, 1, 2},
    {DType::I64, "I64", "I64", 27, 1, 8},
    {DType::I32, "I32", "I32", 26, 1, 4},
    {DType::I16, "I16", "I16", 25, 1, 2},
    {DType::I8, "I8", "I8", 24, 1, 1},
    {DType::U64, "U64", "U64", -1, 1, 8},
    {DType::U32, "U32", "U32", -1, 1, 4},
    {DType::U16, "U16", "U16", -1, 1, 2},
    {DType::U8, "U8", "U8", -1, 1, 1},
    {DType::Bool, "BOOL", "BOOL", -1, 1, 1},
    {DType::F8_E4M3, "F8_E4M3", "F8_E4M3", -1, 1, 1},
    {DType::F8_E5M2, "F8_E5M2", "F8_E5M2", -1, 1, 1},
    {DType::F8_E8M0, "F8_E8M0", "F8_E8M0", -1, 1, 1},
    {DType::Q8_0, "Q8_0", "", 8, 32, 34},
    {DType::Q4_0, "Q4_0", "", 2, 32, 18},
    {DType::Q4_1, "Q4_1", "", 3, 32, 20},
    {DType::Q5_0, "Q5_0", "", 6, 32, 22},
    {DType::Q5_1, "Q5_1", "", 7, 32, 24},
    {DType::MXFP4, "MXFP4", "", 39, 32, 17},
    {DType::NVFP4, "NVFP4", "", 40, 64, 36},
    {DType::IQ4_NL, "IQ4_NL", "", 20, 32, 18},
    {DType::Q2_K, "Q2_K", "", 10, 256, 84},
    {DType::Q3_K, "Q3_K", "", 11, 256, 110},
    {DType::Q4_K, "Q4_K", "", 12, 256, 144},
    {DType::Q5_K, "Q5_K", "", 13, 256, 176},
    {DType::Q6_K, "Q6_K", "", 14, 256, 210},
    {DType::IQ1_S, "IQ1_S", "", 19, 256, 50},
    {DType::IQ1_M, "IQ1_M", "", 29, 256, 56},
    {DType::IQ2_XXS, "IQ2_XXS", "", 16, 256, 66},
    {DType::IQ2_XS, "IQ2_XS", "", 17, 256, 74},
    {DType::IQ2_S, "IQ2_S", "", 22, 256, 82},
    {DType::IQ3_XXS, "IQ3_XXS", "", 18, 256, 98},
    {DType::IQ3_S, "IQ3_S", "", 21, 256, 110},
    {DType::IQ4_XS, "IQ4_XS", "", 23, 256, 136},
}};

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  const DTypeInfo& info = kTable[static_cast<size_t>(dtype)];
  LETHE_DCHECK(info.dtype == dtype);
  return info;
}

std::span<const DTypeInfo> all_dtypes() {
  return kTable;
}

std::optional<DType> dtype_from_safetensors(std::string_view name) {
  for (const DTypeInfo& info : kTable) {
    if (!info.safetensors.empty() && info.safetensors == name) return info.dtype;
  }
  return std::nullopt;
}

std::optional<DType> dtype_from_ggml(uint32_t id) {
  for (const DTypeInfo& info : kTable) {
    if (info.ggml_id >= 0 && static_cast<uint32_t>(info.ggml_id) == id) return info.dtype;
  }
  return std::nullopt;
}

std::optional<uint64_t> row_bytes(DType dtype, uint64_t elements) {
  const DTypeInfo& info = dtype_info(dtype);
  if (elements % info.block_elements != 0) return std::nullopt;
  const uint64_t blocks = elements / info.block_elements;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(blocks, uint64_t{info.block_bytes}, &bytes)) return std::nullopt;
  return bytes;
}

}  // namespace lethe
