#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tensor/checkpoint.h"
#include "tensor/dtype.h"

namespace lethe::quant {

/// How the numbers of a weight matrix are encoded: a storage dtype, or one of the release's
/// two-tensor formats. Model code never switches on it.
enum class Encoding : uint8_t {
  F32,
  F16,
  BF16,
  Fp8Block,  ///< e4m3 + e8m0 (or f32) scale per block x block tile
  Fp4Row,    ///< e2m1 pairs, low nibble first, + e8m0 scale per row per 32
  Fp8Row,    ///< e4m3 + e8m0 scale per row per 32 columns (Engram table)
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
inline constexpr int kNumEncodings = static_cast<int>(Encoding::IQ4_XS) + 1;
std::string_view encoding_name(Encoding encoding);

/// A weight matrix [rows = out, cols = in] as stored: a tagged view, never a copy. Valid while its
/// Checkpoint lives. A vector (norm weight, bias) is one row; of more dimensions the last is cols.
/// Nothing is aligned: read multi-byte fields through load_unaligned.
struct Weight {
  Encoding encoding = Encoding::F32;
  int64_t rows = 0;
  int64_t cols = 0;
  const std::byte* data = nullptr;
  int64_t row_bytes = 0;              ///< from one row to the next
  const std::byte* scales = nullptr;  ///< e8m0 bytes (or f32, see scales_f32); null if in-line
  int64_t scale_cols = 0;             ///< scales per row of the scale tensor
  int64_t scale_row_bytes = 0;        ///< from one row of the scale tensor to the next
  int32_t scale_block = 0;            ///< tile edge of Fp8Block; 32 for Fp4Row, Fp8Row
  bool scales_f32 = false;
  bool present() const noexcept { return data != nullptr; }
  const std::byte* row(int64_t r) const noexcept { return data + r * row_bytes; }
  /// The scales of row r: one per scale_block columns. Fp8Block rows of one tile share them.
  const std::byte* scale_row(int64_t r) const noexcept {
    return scales + (encoding == Encoding::Fp8Block ? r / scale_block : r) * scale_row_bytes;
  }
};

/// View of a stored weight. `fp8_block` is ModelConfig::fp8_block, the tile edge of Fp8Block.
/// Fp8Row also takes the one-tensor form of some GGUF files: I8 rows of cols e4m3 bytes followed by
/// their cols/32 e8m0 bytes. Of a stored weight with a range of columns the result has those only:
/// row_bytes is then more than a row's own bytes. Throws LoadError for a dtype that cannot be a
/// matrix (I64, ...), and for scales whose dtype, shape or size contradict the weight.
Weight make_weight(const StoredWeight& stored, int64_t fp8_block);

/// Decodes elements [col_begin, col_begin + count) of row r to f32, bit-exact as spec/formats.md
/// section 5 (f32 arithmetic in the order written there). col_begin and count must be multiples of
/// encoding_block(weight.encoding). Pure; any thread.
void decode_row(const Weight& weight, int64_t r, int64_t col_begin, int64_t count, float* out);
/// The whole row.
void decode_row(const Weight& weight, int64_t r, float* out);

/// Decodes `blocks` consecutive blocks (elements, for a plain type) of a dtype that has an Encoding
/// of its own: F32, F16, BF16 and the ggml types. Aborts for any other.
void decode_blocks(DType dtype, const std::byte* data, int64_t blocks, float* out);

/// Elements per block along a row, the granularity of decode_row: 1 for plain types and Fp8Block.
int64_t encoding_block(Encoding encoding);

/// Bits per weight of the payload, scales included.
double bits_per_weight(const Weight& weight);

/// True if row r holds a NaN (any encoding; a block or scale code that means NaN makes one), or,
/// unless the encoding is plain, decodes to an infinity. Costs one decode of the row.
bool row_has_nan(const Weight& weight, int64_t r);

}  // namespace lethe::quant
