#include <cstring>

#include "quant/codec.h"
#include "tensor/rounding.h"

namespace lethe::quant {

void decode_f32(const std::byte* data, int64_t blocks, float* out) noexcept {
  std::memcpy(out, data, static_cast<size_t>(blocks) * sizeof(float));
}

void decode_f16(const std::byte* data, int64_t blocks, float* out) noexcept {
  for (int64_t i = 0; i < blocks; ++i) out[i] = f16_to_f32(load_unaligned<uint16_t>(data + 2 * i));
}

void decode_bf16(const std::byte* data, int64_t blocks, float* out) noexcept {
  for (int64_t i = 0; i < blocks; ++i) out[i] = bf16_to_f32(load_unaligned<uint16_t>(data + 2 * i));
}

}  // namespace lethe::quant
