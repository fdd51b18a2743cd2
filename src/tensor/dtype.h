#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace lethe {

/// How the elements of a stored tensor are encoded: the safetensors dtypes, and the ggml block
/// types (a block never crosses a row). Source: spec/formats.md sections 1.2 and 5.
enum class DType : uint8_t {
  // Plain elements.
  F64,
  F32,
  F16,
  BF16,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  Bool,
  F8_E4M3,
  F8_E5M2,
  F8_E8M0,
  // ggml blocks.
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  MXFP4,
  NVFP4,
  IQ4_NL,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ4_XS,
};
inline constexpr int kNumDTypes = static_cast<int>(DType::IQ4_XS) + 1;

struct DTypeInfo {
  DType dtype;
  std::string_view name;         ///< As safetensors or ggml spell it: "F8_E4M3", "Q4_K".
  std::string_view safetensors;  ///< Name in safetensors headers, empty if there is none.
  int ggml_id;                   ///< GGUF type number, -1 if there is none.
  uint32_t block_elements;       ///< Elements per block along the last axis (1 for plain types).
  uint32_t block_bytes;
};

/// Table entry of a dtype.
const DTypeInfo& dtype_info(DType dtype);
inline std::string_view dtype_name(DType dtype) {
  return dtype_info(dtype).name;
}

std::optional<DType> dtype_from_safetensors(std::string_view name);
std::optional<DType> dtype_from_ggml(uint32_t id);
/// All entries, in enum order.
std::span<const DTypeInfo> all_dtypes();

/// Bytes of one row of `elements`, or nothing if it is no whole number of blocks or overflows.
std::optional<uint64_t> row_bytes(DType dtype, uint64_t elements);

}  // namespace lethe
