#pragma once

#include <cstdint>

// Constants of ggml's i-quant formats: codebooks kIq*Grid (row = code, column = element of the
// sub-group), kIq2Signs (7 sign bits -> 8, the last makes the parity even), and the 16 values of
// IQ4_NL. Source: spec/formats.md section 5.

namespace lethe::quant {

#include "quant/iq_tables.inc"

}  // namespace lethe::quant
