#include "kernels/activation_batch.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "quant/activation.h"
#include "tensor/rounding.h"

namespace lethe::kernels {

namespace {

constexpr int64_t kGroup = 32;     // of quantize_int8
constexpr int64_t kSumGroup = 16;  // of Activation::sums

int64_t groups_of(int64_t n, int64_t group) {
  return (n + group - 1) / group;
}

/// Bytes from one token's numbers to the next's. An odd number of cache lines: at a power of two
/// the tokens of a tile would compete for the same few places of the first cache.
int64_t spaced(int64_t bytes) {
  constexpr int64_t kLine = 64;
  return (groups_of(bytes, kLine) | 1) * kLine;
}

size_t buffer_size(size_t tokens, int64_t per_token) {
  return tokens * static_cast<size_t>(per_token);
}

void sum_codes(const int8_t* codes, int64_t n, int32_t* sums) {
  for (int64_t begin = 0; begin < n; begin += kSumGroup) {
    const int64_t end = std::min(begin + kSumGroup, n);
    sums[begin / kSumGroup] = std::accumulate(codes + begin, codes + end, int32_t{0});
  }
}

}  // namespace

ActivationBatch::ActivationBatch(ActivationFormat format, const float* x, int64_t tokens, int64_t n,
                                 int64_t stride)
    : tokens_(static_cast<size_t>(tokens)) {
  LETHE_CHECK(n > 0 && stride >= 0);
  switch (format) {
    case ActivationFormat::F32:
      for (size_t t = 0; t < tokens_.size(); ++t) {
        tokens_[t].f32 = x + static_cast<int64_t>(t) * stride;
      }
      break;
    case ActivationFormat::Bf16:
      convert_to_bf16(x, n, stride);
      break;
    case ActivationFormat::Int8:
      convert_to_int8(x, n, stride);
      break;
  }
}

void ActivationBatch::convert_to_bf16(const float* x, int64_t n, int64_t stride) {
  const int64_t each = spaced(2 * n) / 2;
  bf16_.resize(buffer_size(tokens_.size(), each));
  for (size_t t = 0; t < tokens_.size(); ++t) {
    const float* from = x + static_cast<int64_t>(t) * stride;
    uint16_t* to = bf16_.data() + static_cast<int64_t>(t) * each;
    std::transform(from, from + n, to, bf16_bits);
    tokens_[t].bf16 = to;
  }
}

void ActivationBatch::convert_to_int8(const float* x, int64_t n, int64_t stride) {
  const int64_t codes_each = spaced(n);
  const int64_t scales_each = groups_of(n, kGroup);
  const int64_t sums_each = groups_of(n, kSumGroup);
  codes_.resize(buffer_size(tokens_.size(), codes_each));
  scales_.resize(buffer_size(tokens_.size(), scales_each));
  sums_.resize(buffer_size(tokens_.size(), sums_each));
  for (size_t t = 0; t < tokens_.size(); ++t) {
    const auto index = static_cast<int64_t>(t);
    int8_t* codes = codes_.data() + index * codes_each;
    float* scales = scales_.data() + index * scales_each;
    int32_t* sums = sums_.data() + index * sums_each;
    quant::quantize_int8(x + index * stride, n, codes, scales);
    sum_codes(codes, n, sums);
    tokens_[t].codes = codes;
    tokens_[t].scales = scales;
    tokens_[t].sums = sums;
  }
}

}  // namespace lethe::kernels
