#include "kernels/avx2.h"
#include "kernels/avx2_split_rows.h"
#include "kernels/int8_encodings.h"

namespace lethe::kernels {

namespace {

using quant::Encoding;

/// |w| times x with the sign of w: two products of magnitudes 128 and 127 fit 16 bits.
struct PairProducts {
  template <bool kUnsigned>
  LETHE_AVX2_INLINE static __m256i of(__m256i w, __m256i x) noexcept {
    const __m256i pairs = kUnsigned
                              ? _mm256_maddubs_epi16(w, x)
                              : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }

  // Unsigned codes whose sums fit 16 bits until they are finished.
  LETHE_AVX2_INLINE static __m256i one(__m256i w, __m256i x) noexcept {
    return _mm256_maddubs_epi16(w, x);
  }
  LETHE_AVX2_INLINE static __m256i two(__m256i w, __m256i x, __m256i v, __m256i y) noexcept {
    return _mm256_add_epi16(one(w, x), one(v, y));
  }
  LETHE_AVX2_INLINE static __m256i join(__m256i a, __m256i b) noexcept {
    return _mm256_add_epi16(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  }
  LETHE_AVX2_INLINE static __m256i finish(__m256i a, __m256i b) noexcept {
    const __m256i ones = _mm256_set1_epi16(1);
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi64(a, b), ones),
                            _mm256_madd_epi16(_mm256_unpackhi_epi64(a, b), ones));
  }
};

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  set_rows<Format, PairProducts>(table, encoding);
}

}  // namespace

void install_avx2_int8_row_dots(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
