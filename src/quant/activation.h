#pragma once

#include <cstdint>

// The quantizers of the official implementation, on f32 values that lie on the bf16 grid.
// Source: spec/deepseek-v4.md section 3 (actq128, kvq64, fp4q32), spec/deepseek-v4.1.md section 3
// (ACT8, QDQ8, QDQ4-index, QDQ4-kv). Every scale but QDQ4-kv's and int8's is
// a power of two. A last partial group is quantized over the elements it has; n must be even for
// the FP4 formats. A group that holds a NaN or an infinity gets a NaN scale: it decodes to NaN as a
// whole and nothing is hidden. Pure; any thread.

namespace lethe::quant {

/// Per group: amax = max(max|x|, 1e-4), s = 2^ceil(log2(f32(amax * f32(1/448)))),
/// q = e4m3(clamp(x/s, +-448)). codes: [n] e4m3, scales: [ceil(n/group)] e8m0.
void quantize_fp8(const float* x, int64_t n, int64_t group, uint8_t* codes, uint8_t* scales);
void dequantize_fp8(const uint8_t* codes, const uint8_t* scales, int64_t n, int64_t group,
                    float* x);
/// quantize + dequantize in place (kvq64, QDQ8): exact in bf16.
void fake_quantize_fp8(float* x, int64_t n, int64_t group);

/// Per group of 32: amax = max(max|x|, 6*2^-126), s = 2^ceil(log2(f32(amax * f32(1/6)))), e2m1.
/// codes: [n/2], low nibble = even element; scales: [ceil(n/32)] e8m0.
void quantize_fp4(const float* x, int64_t n, uint8_t* codes, uint8_t* scales);
/// `fast` only: the same format, but of the reference's scale and the next smaller one (which
/// saturates the largest elements) each group takes the one with the smaller squared error.
void quantize_fp4_closest(const float* x, int64_t n, uint8_t* codes, uint8_t* scales);
void dequantize_fp4(const uint8_t* codes, const uint8_t* scales, int64_t n, float* x);
void fake_quantize_fp4(float* x, int64_t n);

/// V4.1 compressed KV, per group of 16: amax = max(max|x|, 6*2^-9), s = e4m3(amax / 6), e2m1 of
/// x/s. codes: [n/2], low nibble = even element; scales: [ceil(n/16)] e4m3.
void quantize_fp4_e4m3(const float* x, int64_t n, uint8_t* codes, uint8_t* scales);
void dequantize_fp4_e4m3(const uint8_t* codes, const uint8_t* scales, int64_t n, float* x);

/// int8 activations of `fast`: per group of 32, d = max|x| / 127, q = round(x / d) in [-127, 127],
/// nearest, ties to even. scales: [ceil(n/32)] f32; a zero group has scale 0.
void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales);

/// The same with one scale for all of x, which is returned.
float quantize_int8_row(const float* x, int64_t n, int8_t* codes);

}  // namespace lethe::quant
