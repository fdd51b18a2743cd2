#include <algorithm>
#include <numeric>

#include "kernels/scalar.h"
#include "kernels/swiglu_loop.h"
#include "quant/activation.h"
#include "tensor/rounding.h"

namespace lethe::kernels {

namespace {

constexpr int64_t kSumGroup = 16;

void to_bf16(const float* x, int64_t n, uint16_t* out) noexcept {
  std::transform(x, x + n, out, bf16_bits);
}

void quantize_int8(const float* x, int64_t n, int8_t* codes, float* scales,
                   int32_t* sums) noexcept {
  quant::quantize_int8(x, n, codes, scales);
  for (int64_t begin = 0; begin < (n + 31) / 32 * 32; begin += kSumGroup) {
    const int64_t end = std::min(begin + kSumGroup, n);
    sums[begin / kSumGroup] =
        begin < n ? std::accumulate(codes + begin, codes + end, int32_t{0}) : 0;
  }
}

}  // namespace

void install_scalar_activations(KernelTable& table) noexcept {
  table.to_bf16 = to_bf16;
  table.quantize_int8 = quantize_int8;
  table.swiglu = SwigluVectors<16>::run;
}

}  // namespace lethe::kernels
