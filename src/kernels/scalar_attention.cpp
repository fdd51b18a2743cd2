#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "kernels/scalar.h"
#include "quant/activation.h"
#include "tensor/rounding.h"

namespace lethe::kernels {

namespace {

constexpr int64_t kBlock = 64;  // keys per step of the running max

void decode(const AttentionKey& key, int64_t dim, float* out) noexcept {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(key.data);
  if (key.layout->fp4) {
    quant::dequantize_fp4_e4m3(bytes, bytes + dim / 2, dim, out);
    return;
  }
  const int64_t plain = dim - key.layout->bf16_tail;
  const int64_t group = key.layout->fp8_group;
  quant::dequantize_fp8(bytes, bytes + plain, plain, group, out);
  const uint8_t* const tail = bytes + plain + (plain + group - 1) / group;
  for (int64_t i = 0; i < key.layout->bf16_tail; ++i) {
    out[plain + i] = bf16_to_f32(load_unaligned<uint16_t>(tail + 2 * i));
  }
}

/// One head's step over the decoded rows of a block.
void add_block(const float* q, const float* rows, int64_t count, int64_t dim, float scale,
               float& max, float& denominator, float* sums) noexcept {
  float e[kBlock];
  float largest = max;
  for (int64_t i = 0; i < count; ++i) {
    float dot = 0;
    for (int64_t d = 0; d < dim; ++d) dot += q[d] * rows[i * dim + d];
    e[i] = dot * scale;
    largest = std::max(largest, e[i]);
  }
  const float factor = std::exp(max - largest);
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += e[i] = std::exp(e[i] - largest);
  max = largest;
  denominator = denominator * factor + sum;
  for (int64_t d = 0; d < dim; ++d) sums[d] *= factor;
  for (int64_t i = 0; i < count; ++i) {
    const float weight = round_to_bf16(e[i]);
    for (int64_t d = 0; d < dim; ++d) sums[d] += weight * rows[i * dim + d];
  }
}

void attend(const AttentionQuery& query, const AttentionKey* keys, int64_t count,
            const AttentionSums& out, std::byte* scratch) noexcept {
  const int64_t dim = query.dim;
  auto* const rows = reinterpret_cast<float*>(scratch);  // [kBlock][dim]
  float* const q = rows + kBlock * dim;                  // [heads][dim]
  for (int64_t i = 0; i < query.heads * dim; ++i) q[i] = round_to_bf16(query.q[i]);
  const int64_t heads = padded_lanes(query.heads);
  std::fill_n(out.max, heads, -1e30F);
  std::fill_n(out.denominator, heads, 0.0F);
  std::fill_n(out.sums, heads * padded_lanes(dim), 0.0F);
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t block = std::min(kBlock, count - begin);
    for (int64_t i = 0; i < block; ++i) decode(keys[begin + i], dim, rows + i * dim);
    for (int64_t h = 0; h < query.heads; ++h) {
      add_block(q + h * dim, rows, block, dim, query.scale, out.max[h], out.denominator[h],
                out.sums + h * padded_lanes(dim));
    }
  }
}

}  // namespace

void install_scalar_attention(KernelTable& table) noexcept {
  table.attend = attend;
}

}  // namespace lethe::kernels
