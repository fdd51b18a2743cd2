#include "ops/device.h"

#include "tensor/rounding.h"

namespace lethe::ops {

void Device::store_bf16(std::span<float> values) const {
  if (!official()) return;
  for (float& value : values) value = round_to_bf16(value);
}

}  // namespace lethe::ops
