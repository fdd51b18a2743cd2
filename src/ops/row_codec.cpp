#include "ops/row_codec.h"

#include <cstring>

#include "base/check.h"
#include "quant/activation.h"
#include "tensor/integers.h"
#include "tensor/rounding.h"

namespace lethe::ops {

namespace {

constexpr int64_t kFp8RopeGroup = 64;
constexpr int64_t kFp8Group = 32;
constexpr int64_t kFp4Group = 32;
constexpr int64_t kFp4E4m3Group = 16;

int64_t bytes_of(RowCodec::Kind kind, int64_t dim, int64_t rope_dim) {
  switch (kind) {
    case RowCodec::Kind::F32:
      return dim * 4;
    case RowCodec::Kind::Fp8RopeBf16:
      return (dim - rope_dim) + ceil_div(dim - rope_dim, kFp8RopeGroup) + rope_dim * 2;
    case RowCodec::Kind::Fp8:
      return dim + ceil_div(dim, kFp8Group);
    case RowCodec::Kind::Fp4:
      return dim / 2 + dim / kFp4Group;
    case RowCodec::Kind::Fp4E4m3:
      return dim / 2 + dim / kFp4E4m3Group;
  }
  return 0;
}

uint8_t* as_bytes(std::byte* p) {
  return reinterpret_cast<uint8_t*>(p);
}
const uint8_t* as_bytes(const std::byte* p) {
  return reinterpret_cast<const uint8_t*>(p);
}

}  // namespace

RowCodec::RowCodec(Numerics numerics, Kind served, int64_t dim, int64_t rope_dim)
    : kind_(numerics == Numerics::F32 ? Kind::F32 : served),
      dim_(dim),
      rope_dim_(rope_dim),
      closest_(numerics == Numerics::Fast) {
  LETHE_CHECK(dim > 0 && rope_dim >= 0 && rope_dim <= dim);
  LETHE_CHECK(kind_ != Kind::Fp4 || dim % kFp4Group == 0, "index rows come in groups of 32");
  LETHE_CHECK(kind_ != Kind::Fp4E4m3 || dim % kFp4E4m3Group == 0, "rows come in groups of 16");
  row_bytes_ = bytes_of(kind_, dim_, rope_dim_);
}

void RowCodec::encode(const float* row, std::byte* out) const {
  uint8_t* const bytes = as_bytes(out);
  switch (kind_) {
    case Kind::F32:
      std::memcpy(out, row, static_cast<size_t>(row_bytes_));
      return;
    case Kind::Fp8RopeBf16: {
      const int64_t plain = dim_ - rope_dim_;
      const int64_t scales = ceil_div(plain, kFp8RopeGroup);
      quant::quantize_fp8(row, plain, kFp8RopeGroup, bytes, bytes + plain);
      for (int64_t i = 0; i < rope_dim_; ++i) {
        const uint16_t bits = bf16_bits(row[plain + i]);
        std::memcpy(bytes + plain + scales + 2 * i, &bits, sizeof(bits));
      }
      return;
    }
    case Kind::Fp8:
      quant::quantize_fp8(row, dim_, kFp8Group, bytes, bytes + dim_);
      return;
    case Kind::Fp4:
      (closest_ ? quant::quantize_fp4_closest : quant::quantize_fp4)(row, dim_, bytes,
                                                                     bytes + dim_ / 2);
      return;
    case Kind::Fp4E4m3:
      quant::quantize_fp4_e4m3(row, dim_, bytes, bytes + dim_ / 2);
      return;
  }
}

void RowCodec::decode(const std::byte* in, float* row) const {
  const uint8_t* const bytes = as_bytes(in);
  switch (kind_) {
    case Kind::F32:
      std::memcpy(row, in, static_cast<size_t>(row_bytes_));
      return;
    case Kind::Fp8RopeBf16: {
      const int64_t plain = dim_ - rope_dim_;
      const int64_t scales = ceil_div(plain, kFp8RopeGroup);
      quant::dequantize_fp8(bytes, bytes + plain, plain, kFp8RopeGroup, row);
      for (int64_t i = 0; i < rope_dim_; ++i) {
        row[plain + i] = bf16_to_f32(load_unaligned<uint16_t>(bytes + plain + scales + 2 * i));
      }
      return;
    }
    case Kind::Fp8:
      quant::dequantize_fp8(bytes, bytes + dim_, dim_, kFp8Group, row);
      return;
    case Kind::Fp4:
      quant::dequantize_fp4(bytes, bytes + dim_ / 2, dim_, row);
      return;
    case Kind::Fp4E4m3:
      quant::dequantize_fp4_e4m3(bytes, bytes + dim_ / 2, dim_, row);
      return;
  }
}

}  // namespace lethe::ops
