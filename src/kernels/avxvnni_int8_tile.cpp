#include "kernels/avx2_int8_tile.h"
#include "kernels/avxvnni.h"
#include "kernels/int8_encodings.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// Unsigned bytes, code + 128: vpdpbusd adds four products in 32 bits, which nothing fills. A sum
/// starts at -128 times the token's sum of codes, so that it ends as that of signed products.
struct QuadProducts {
  static constexpr int kCodeBytes = 64 * kCodeVectors;
  static constexpr int kTokenBytes = 0;

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) {
      store_aligned(out + 64 * v, _mm256_xor_si256(turned[v], bytes(0x80)));
    }
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup& x,
                                     const std::byte*, int64_t t, int which,
                                     QuadInts& out) noexcept {
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
      out[0][q] = all_lanes(x.bias[which] + t + q);
      out[1][q] = out[0][q];
    }
#pragma GCC unroll 8
    for (int v = kFirst; v < kFirst + kCount; ++v) {
      const __m256i w[2] = {load_aligned(codes + 64 * v), load_aligned(codes + 64 * v + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i four = all_lanes(x.codes[t + q] + 4 * v);
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          out[r][q] = _mm256_dpbusd_avx_epi32(out[r][q], w[r], four);
        }
      }
    }
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_tile<Format, QuadProducts>(table, encoding);
}

}  // namespace

void install_avxvnni_int8_tile(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
