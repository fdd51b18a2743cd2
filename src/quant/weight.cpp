#include "quant/weight.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/check.h"
#include "base/error.h"
#include "quant/codec.h"
#include "tensor/integers.h"
#include "tensor/rounding.h"

namespace lethe::quant {

namespace {

constexpr int64_t kRowScaleGroup = 32;  // columns per scale of Fp4Row and Fp8Row

uint64_t bytes(int64_t n) {
  return static_cast<uint64_t>(n);
}

// rows and cols of the tensor's logical shape, with its data pointer.
Weight matrix_of(const TensorView& tensor, Encoding encoding) {
  Weight w;
  w.encoding = encoding;
  w.cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](int64_t d) { return d < 1; })) {
    throw LoadError("{}: tensor {} has shape {}; a weight cannot have an empty dimension.",
                    tensor.file, tensor.name, shape_string(tensor.shape));
  }
  w.rows = num_elements(tensor.shape) / w.cols;
  w.data = tensor.data.data();
  return w;
}

void check_size(const TensorView& tensor, int64_t expected) {
  if (tensor.data.size() == bytes(expected)) return;
  throw LoadError(
      "{}: tensor {} ({} {}) has {} bytes of data where its shape needs {}. The file is "
      "damaged or stored in a layout Lethe does not know.",
      tensor.file, tensor.name, dtype_name(tensor.dtype), shape_string(tensor.shape),
      tensor.data.size(), expected);
}

Weight self_contained(const TensorView& tensor) {
  const Codec* entry = codec_of_dtype(tensor.dtype);
  if (entry == nullptr) {
    throw LoadError("{}: tensor {} is stored as {}, which cannot be the numbers of a weight here.",
                    tensor.file, tensor.name, dtype_name(tensor.dtype));
  }
  Weight w = matrix_of(tensor, entry->encoding);
  const auto row = row_bytes(tensor.dtype, bytes(w.cols));
  if (!row) {
    throw LoadError("{}: tensor {} {} is stored as {}, whose rows must be a multiple of {} long.",
                    tensor.file, tensor.name, shape_string(tensor.shape), dtype_name(tensor.dtype),
                    entry->block);
  }
  w.row_bytes = static_cast<int64_t>(*row);
  check_size(tensor, w.rows * w.row_bytes);
  return w;
}

// The columns that a stored weight names, of a weight without a tensor of scales.
Weight columns_of(Weight w, const StoredWeight& stored) {
  const DType dtype = stored.tensor.dtype;
  const bool inside = stored.col_begin >= 0 && stored.cols > 0 && stored.col_begin <= w.cols &&
                      stored.cols <= w.cols - stored.col_begin;
  const auto skipped = inside ? row_bytes(dtype, bytes(stored.col_begin)) : std::nullopt;
  if (!skipped || !row_bytes(dtype, bytes(stored.cols))) {
    throw LoadError("{}: tensor {} {} ({}) cannot be read from column {} for {} columns.",
                    stored.tensor.file, stored.tensor.name, shape_string(stored.tensor.shape),
                    dtype_name(dtype), stored.col_begin, stored.cols);
  }
  w.data += *skipped;
  w.cols = stored.cols;
  return w;
}

// Attaches the scale tensor, which must be [scale_rows, scale_cols] of e8m0 or f32.
void attach_scales(Weight& w, const StoredWeight& stored, int64_t scale_rows) {
  const TensorView& tensor = stored.tensor;
  if (!stored.scale) {
    throw LoadError("{}: tensor {} is {} and needs a tensor of scales beside it; there is none.",
                    tensor.file, tensor.name, encoding_name(w.encoding));
  }
  const TensorView& scale = *stored.scale;
  w.scale_cols = ceil_div(w.cols, w.scale_block);
  const Shape expected = {scale_rows, w.scale_cols};
  if (scale.shape != expected) {
    throw LoadError(
        "{}: the scales {} of {} {} have shape {}; with one scale per {} columns{} they must have "
        "shape {}. The block size in the configuration does not fit this file.",
        scale.file, scale.name, tensor.name, shape_string(tensor.shape), shape_string(scale.shape),
        w.scale_block, w.encoding == Encoding::Fp8Block ? " and rows" : "", shape_string(expected));
  }
  w.scales_f32 = scale.dtype == DType::F32;
  if (!w.scales_f32 && scale.dtype != DType::F8_E8M0 && scale.dtype != DType::U8) {
    throw LoadError("{}: the scales {} are stored as {}; expected F8_E8M0, U8 or F32.", scale.file,
                    scale.name, dtype_name(scale.dtype));
  }
  w.scale_row_bytes = w.scale_cols * (w.scales_f32 ? 4 : 1);
  check_size(scale, scale_rows * w.scale_row_bytes);
  w.scales = scale.data.data();
}

void check_dtype(const TensorView& tensor, Encoding encoding,
                 std::initializer_list<DType> allowed) {
  if (std::find(allowed.begin(), allowed.end(), tensor.dtype) != allowed.end()) return;
  throw LoadError("{}: tensor {} is stored as {}; {} is stored as {}.", tensor.file, tensor.name,
                  dtype_name(tensor.dtype), encoding_name(encoding), dtype_name(*allowed.begin()));
}

void check_row_groups(const Weight& w, const TensorView& tensor) {
  if (w.cols % kRowScaleGroup == 0) return;
  throw LoadError("{}: tensor {} {} is {}, whose rows must be a multiple of {} long.", tensor.file,
                  tensor.name, shape_string(tensor.shape), encoding_name(w.encoding),
                  kRowScaleGroup);
}

Weight fp8_block_weight(const StoredWeight& stored, int64_t fp8_block) {
  LETHE_CHECK(fp8_block > 0 && fp8_block <= 1 << 20);
  Weight w = matrix_of(stored.tensor, Encoding::Fp8Block);
  check_dtype(stored.tensor, w.encoding, {DType::F8_E4M3});
  w.row_bytes = w.cols;
  check_size(stored.tensor, w.rows * w.row_bytes);
  w.scale_block = static_cast<int32_t>(fp8_block);
  attach_scales(w, stored, ceil_div(w.rows, fp8_block));
  return w;
}

Weight fp4_row_weight(const StoredWeight& stored) {
  Weight w = matrix_of(stored.tensor, Encoding::Fp4Row);
  check_dtype(stored.tensor, w.encoding, {DType::I8, DType::U8});
  check_row_groups(w, stored.tensor);
  w.row_bytes = w.cols / 2;
  check_size(stored.tensor, w.rows * w.row_bytes);
  w.scale_block = kRowScaleGroup;
  attach_scales(w, stored, w.rows);
  return w;
}

Weight fp8_row_weight(const StoredWeight& stored) {
  const TensorView& tensor = stored.tensor;
  Weight w = matrix_of(tensor, Encoding::Fp8Row);
  check_dtype(tensor, w.encoding, {DType::F8_E4M3, DType::I8, DType::U8});
  check_row_groups(w, tensor);
  w.scale_block = kRowScaleGroup;
  if (stored.scale) {
    w.row_bytes = w.cols;
    check_size(tensor, w.rows * w.row_bytes);
    attach_scales(w, stored, w.rows);
    return w;
  }
  w.scale_cols = w.cols / kRowScaleGroup;
  w.row_bytes = w.cols + w.scale_cols;
  w.scale_row_bytes = w.row_bytes;
  check_size(tensor, w.rows * w.row_bytes);
  w.scales = w.data + w.cols;
  return w;
}

float scale_at(const Weight& w, const std::byte* scale_row, int64_t index) {
  if (w.scales_f32) return load_unaligned<float>(scale_row + 4 * index);
  return e8m0_to_f32(static_cast<uint8_t>(scale_row[index]));
}

void scale_e4m3(const std::byte* codes, int64_t count, float scale, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    out[i] = e4m3_to_f32(static_cast<uint8_t>(codes[i])) * scale;
  }
}

// count is even.
void scale_e2m1(const std::byte* codes, int64_t count, float scale, float* out) {
  for (int64_t i = 0; i < count; i += 2) {
    const auto pair = static_cast<uint8_t>(codes[i / 2]);
    out[i] = e2m1_to_f32(pair) * scale;
    out[i + 1] = e2m1_to_f32(static_cast<uint8_t>(pair >> 4)) * scale;
  }
}

// The encodings with a tensor of scales: one run of columns per scale.
void decode_scaled(const Weight& w, int64_t r, int64_t col_begin, int64_t count, float* out) {
  const std::byte* row = w.row(r);
  const std::byte* scales = w.scale_row(r);
  const int64_t end = col_begin + count;
  for (int64_t col = col_begin; col < end;) {
    const int64_t tile = col / w.scale_block;
    const int64_t length = std::min((tile + 1) * w.scale_block, end) - col;
    const float scale = scale_at(w, scales, tile);
    if (w.encoding == Encoding::Fp4Row) {
      scale_e2m1(row + col / 2, length, scale, out);
    } else {
      scale_e4m3(row + col, length, scale, out);
    }
    out += length;
    col += length;
  }
}

bool is_plain(Encoding encoding) {
  return encoding == Encoding::F32 || encoding == Encoding::F16 || encoding == Encoding::BF16;
}

}  // namespace

Weight make_weight(const StoredWeight& stored, int64_t fp8_block) {
  switch (stored.kind) {
    case StorageKind::Fp8Block:
      return fp8_block_weight(stored, fp8_block);
    case StorageKind::Fp4Row:
      return fp4_row_weight(stored);
    case StorageKind::Fp8Row:
      return fp8_row_weight(stored);
    case StorageKind::Bf16:
    case StorageKind::F32:
    case StorageKind::I64:
      break;
  }
  const Weight whole = self_contained(stored.tensor);
  return stored.cols < 0 ? whole : columns_of(whole, stored);
}

void decode_row(const Weight& weight, int64_t r, int64_t col_begin, int64_t count, float* out) {
  const Codec& entry = codec(weight.encoding);
  LETHE_DCHECK(r >= 0 && r < weight.rows);
  LETHE_DCHECK(col_begin >= 0 && count >= 0 && col_begin + count <= weight.cols);
  LETHE_DCHECK(col_begin % entry.block == 0 && count % entry.block == 0);
  if (entry.decode == nullptr) {
    decode_scaled(weight, r, col_begin, count, out);
    return;
  }
  const int64_t block_bytes = dtype_info(entry.dtype).block_bytes;
  entry.decode(weight.row(r) + col_begin / entry.block * block_bytes, count / entry.block, out);
}

void decode_row(const Weight& weight, int64_t r, float* out) {
  decode_row(weight, r, 0, weight.cols, out);
}

double bits_per_weight(const Weight& weight) {
  const Codec& entry = codec(weight.encoding);
  if (entry.decode != nullptr) {
    return 8.0 * dtype_info(entry.dtype).block_bytes / static_cast<double>(entry.block);
  }
  double total = static_cast<double>(weight.row_bytes) * static_cast<double>(weight.rows);
  const bool scales_in_row =
      weight.encoding == Encoding::Fp8Row && weight.scale_row_bytes == weight.row_bytes;
  if (weight.scales != nullptr && !scales_in_row) {
    const int64_t rows_per_scale = weight.encoding == Encoding::Fp8Block ? weight.scale_block : 1;
    total += static_cast<double>(ceil_div(weight.rows, rows_per_scale) * weight.scale_row_bytes);
  }
  return 8.0 * total / (static_cast<double>(weight.rows) * static_cast<double>(weight.cols));
}

bool row_has_nan(const Weight& weight, int64_t r) {
  constexpr int64_t kChunk = 1024;  // a multiple of every block
  std::array<float, kChunk> values;
  const uint32_t first_bad = is_plain(weight.encoding) ? 0x7f800001u : 0x7f800000u;
  for (int64_t col = 0; col < weight.cols; col += kChunk) {
    const int64_t count = std::min(kChunk, weight.cols - col);
    decode_row(weight, r, col, count, values.data());
    const bool bad = std::any_of(values.begin(), values.begin() + count, [&](float v) {
      return (std::bit_cast<uint32_t>(v) & 0x7fffffffu) >= first_bad;
    });
    if (bad) return true;
  }
  return false;
}

}  // namespace lethe::quant
