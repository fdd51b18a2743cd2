#pragma once

#include <cstdint>
#include <span>

#include "ops/device.h"
#include "quant/weight.h"

namespace lethe::ops {

/// Rows of a table: out[i] = table[ids[i]], [ids, cols] f32, one rounding point. Reads only those
/// rows. Throws Error if an id is outside the table.
Matrix embed(const Device& device, const quant::Weight& table, std::span<const int32_t> ids);

}  // namespace lethe::ops
