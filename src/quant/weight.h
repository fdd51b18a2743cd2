#pragma once

#include "tensor/checkpoint.h"
#include "tensor/dtype.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace lethe::quant {

/// How the numbers of a weight matrix are encoded: a storage dtype, or one of the release's
/// two-tensor formats. Model code never switches on it.
enum class Encoding : uint8_t {
  F32, F16, BF16,
  Fp8Block,  ///< e4m3 + e8m0 (or f32) scale per block x block tile
  Fp4Row,    ///< e2m1 pairs, low nibble first, + e8m0 scale per row per 32
  Fp8Row,    ///< e4m3 + e8m0 scale per row per 32 columns (Engram table)
  Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4, NVFP4, IQ4_NL,
  Q2_K, Q3_K, Q4_K, Q5_K, Q6_K,
  IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, IQ4_XS,
};
inline constexpr int kNumEncodings = static_cast<int>(Encoding::IQ4_XS) + 1;
std::string_view encoding_name(Encoding encoding);

/// A weight matrix [rows = out, cols = in] as stored: a tagged view, never a copy. Valid while its
/// Checkpoint lives. A vector (norm weight, bias) is one row.
struct Weight {
  Encoding encoding = Encoding::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;
  int64_t row_bytes = 0;
  const std::byte* scales = nullptr;  ///< e8m0 bytes (or f32, see scales_f32); null if in-line
  int64_t scale_cols = 0;             ///< scales per row of the scale tensor
  int32_t scale_block = 0;            ///< tile edge of Fp8Block; 32 for Fp4Row, Fp8Row
  bool scales_f32 = false;
  bool present() const noexcept { return data != nullptr; }
  const std::byte* row(int64_t r) const noexcept { return data + r * row_bytes; }
};

/// View of a stored weight. Throws LoadError for a dtype that cannot be a matrix (I64, ...).
Weight make_weight(const StoredWeight& stored);

/// Decodes elements [col_begin, col_begin + count) of row r to f32, bit-exact as spec/formats.md
/// section 5 (f32 arithmetic in the order written there). col_begin and count must be multiples of
/// the encoding's block (1 for plain, 32 for Fp4Row/Fp8Row, any for Fp8Block).
void decode_row(const Weight& weight, int64_t r, int64_t col_begin, int64_t count, float* out);
/// The whole row.
void decode_row(const Weight& weight, int64_t r, float* out);

/// Decodes `blocks` consecutive blocks of a self-contained dtype (plain or ggml) to f32.
/// Aborts for dtypes that are not numbers of their own (I8 packed FP4, F8_E8M0 is decoded as 2^e).
void decode_blocks(DType dtype, const std::byte* data, int64_t blocks, float* out);

/// Elements per block along a row: decode granularity.
int64_t encoding_block(Encoding encoding);

/// Bits per weight of the payload, scales included, for a matrix of that many columns.
double bits_per_weight(const Weight& weight);

/// True if the bytes hold a NaN code (e4m3 0x7f/0xff, e8m0 255, f16/f32/bf16 NaN or infinite block
/// scale) anywhere in row r.
bool row_has_nan(const Weight& weight, int64_t r);

}  // namespace lethe::quant
