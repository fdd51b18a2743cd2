#include "kernels/avx2_split_rows.h"
#include "kernels/avxvnni.h"
#include "kernels/int8_encodings.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// |w| times x with the sign of w, as in the AVX2 set, where codes have all of a byte.
struct QuadProducts {
  template <bool kUnsigned>
  LETHE_AVX2_INLINE static __m256i of(__m256i w, __m256i x) noexcept {
    const __m256i zero = _mm256_setzero_si256();
    if constexpr (kUnsigned) return _mm256_dpbusd_avx_epi32(zero, w, x);
    return _mm256_dpbusd_avx_epi32(zero, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
  }

  LETHE_AVX2_INLINE static __m256i one(__m256i w, __m256i x) noexcept { return of<true>(w, x); }
  LETHE_AVX2_INLINE static __m256i two(__m256i w, __m256i x, __m256i v, __m256i y) noexcept {
    return _mm256_dpbusd_avx_epi32(one(w, x), v, y);
  }
  LETHE_AVX2_INLINE static __m256i join(__m256i a, __m256i b) noexcept {
    return add_neighbours32(a, b);
  }
  LETHE_AVX2_INLINE static __m256i finish(__m256i a, __m256i b) noexcept {
    return add_neighbours64(a, b);
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_rows<Format, QuadProducts>(table, encoding);
}

}  // namespace

void install_avxvnni_int8_rows(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
