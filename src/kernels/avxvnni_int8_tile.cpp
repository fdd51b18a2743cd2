#include "kernels/avx2_int8_tile.h"
#include "kernels/avxvnni.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// Unsigned bytes, code + 128: vpdpbusd adds four products in 32 bits, which nothing fills. A sum
/// starts at -128 times the token's sum of codes, so that it ends as that of signed products.
struct QuadProducts {
  static constexpr int kCodeBytes = 64 * kCodeVectors;

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + 64 * v),
                         _mm256_xor_si256(turned[v], bytes(0x80)));
    }
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup& x, int64_t t,
                                     int which, QuadSums& out) noexcept {
    __m256i total[kRowHalves][kQuad];
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
      total[0][q] = all_lanes(x.bias[which] + t + q);
      total[1][q] = total[0][q];
    }
#pragma GCC unroll 8
    for (int v = kFirst; v < kFirst + kCount; ++v) {
      const __m256i w[2] = {load_aligned(codes + 64 * v), load_aligned(codes + 64 * v + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i four = all_lanes(x.codes[t + q] + 4 * v);
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          total[r][q] = _mm256_dpbusd_avx_epi32(total[r][q], w[r], four);
        }
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
      for (int r = 0; r < kRowHalves; ++r) out[r][q] = _mm256_cvtepi32_ps(total[r][q]);
    }
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_tile<Format, QuadProducts>(table, encoding);
}

}  // namespace

void install_avxvnni_int8_tile(KernelTable& table) noexcept {
  set<Fp4Row>(table, Encoding::Fp4Row);
  set<Q8_0>(table, Encoding::Q8_0);
  set<Q4_0>(table, Encoding::Q4_0);
  set<Q4_1>(table, Encoding::Q4_1);
  set<Q5_0>(table, Encoding::Q5_0);
  set<Q5_1>(table, Encoding::Q5_1);
  set<MXFP4>(table, Encoding::MXFP4);
  set<NVFP4>(table, Encoding::NVFP4);
  set<IQ4_NL>(table, Encoding::IQ4_NL);
  set<Q2_K>(table, Encoding::Q2_K);
  set<Q3_K>(table, Encoding::Q3_K);
  set<Q4_K>(table, Encoding::Q4_K);
  set<Q5_K>(table, Encoding::Q5_K);
  set<Q6_K>(table, Encoding::Q6_K);
  set<IQ1_S>(table, Encoding::IQ1_S);
  set<IQ1_M>(table, Encoding::IQ1_M);
  set<IQ2_XXS>(table, Encoding::IQ2_XXS);
  set<IQ2_XS>(table, Encoding::IQ2_XS);
  set<IQ2_S>(table, Encoding::IQ2_S);
  set<IQ3_XXS>(table, Encoding::IQ3_XXS);
  set<IQ3_S>(table, Encoding::IQ3_S);
  set<IQ4_XS>(table, Encoding::IQ4_XS);
}

}  // namespace lethe::kernels
