#include "kernels/avx2_int8_rows.h"
#include "kernels/avxvnni.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// |w| times x with the sign of w, as in the AVX2 set: an offset would have to be taken off again,
/// which costs as much.
struct QuadProducts {
  template <bool kUnsigned>
  LETHE_AVX2_INLINE static __m256i of(__m256i w, __m256i x) noexcept {
    const __m256i zero = _mm256_setzero_si256();
    if constexpr (kUnsigned) return _mm256_dpbusd_avx_epi32(zero, w, x);
    return _mm256_dpbusd_avx_epi32(zero, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_rows<Format, QuadProducts>(table, encoding);
}

}  // namespace

void install_avxvnni_int8_rows(KernelTable& table) noexcept {
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
