#include "kernels/avx512_int8_tile.h"

#include "kernels/avx512.h"
#include "kernels/int8_encodings.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// sums += products of code vectors [kFirst, kFirst + kCount) of kPanels panels with the codes of
/// kTogether tokens.
template <int kFirst, int kCount, int kPanels>
LETHE_AVX512_INLINE void add_products(const std::byte* const* panels, const int8_t (*x)[32],
                                      __m512i (*sums)[kTogether]) noexcept {
#pragma GCC unroll 8
  for (int v = kFirst; v < kFirst + kCount; ++v) {
    __m512i w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = load512(panels[p] + 64 * v);
      asm("" : "+v"(w[p]));  // held in a register, not read again for each token
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTogether; ++t) {
      const __m512i codes = all_lanes(x[t] + 4 * v);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) {
        sums[p][t] = _mm512_dpbusd_epi32(sums[p][t], w[p], codes);
      }
    }
  }
}

/// By vpdpbusd. A token's 4 codes are broadcast to all lanes and serve all panels; a sum starts at
/// -128 times the token's sum of codes, so that it ends as that of signed products. With three
/// panels there are 12 sums at once: two units whose latency is 4 would wait with 8.
struct QuadProducts {
  static constexpr int kOffset = 128;
  static constexpr int kMostPanels = 3;
  static constexpr int64_t kBlockGroups = 12;

  template <typename Narrow, bool kPowers, int kPanels>
  LETHE_AVX512_INLINE void begin(const std::byte* const*, const Int8TileGroup*,
                                 int64_t) const noexcept {}

  template <bool kPowers, int kHalf, int kPanels>
  LETHE_AVX512_INLINE void sums(const std::byte* const* panels, const Int8TileGroup& x, int64_t,
                                int64_t first, __m512i (*sums)[kTogether]) const noexcept {
    constexpr int kWhich = kHalf == 2 ? 0 : 1 + kHalf;  // of the biases
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 4
      for (int t = 0; t < kTogether; ++t) {
        sums[p][t] = all_lanes(x.bias[kWhich] + first + t);
        if constexpr (kPowers) {
          sums[p][t] = _mm512_add_epi32(sums[p][t], load512(panels[p] + 64 * kCodeVectors));
        }
      }
    }
    add_products<kHalf == 1 ? 4 : 0, kHalf == 2 ? 8 : 4, kPanels>(panels, x.codes + first, sums);
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_tile<Format, QuadProducts>(table, encoding);
}

}  // namespace

void install_avx512_int8_tile(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
