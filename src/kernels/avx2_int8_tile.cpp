#include "kernels/avx2_int8_tile.h"

#include "kernels/avx2.h"
#include "kernels/avx2_code_ranges.h"
#include "kernels/int8_encodings.h"

// Products of AVX2. vpmaddubsw multiplies unsigned bytes with signed ones and adds two products to
// 16 bits, which saturate; vpmaddwd with ones then widens to the 32 bits of a lane. What this costs
// depends on how many products 16 bits can hold, and so on the range of a format's codes:
//
//   codes                        vectors added in 16 bits    operations per vector of 32 products
//   up to 4 bits, +-16           8                           2.1
//   0 .. 31, +-32                4                           2.3
//   IQ2, IQ3_XXS (up to +-64)    2                           2.8
//   8 bits, IQ4 (any int8)       kept as 16 bits             4, of which 2 multiply
//
// Codes that are not negative are the unsigned bytes. With signed ones these are the token's codes
// + 128, and words begin at -128 times the sum of the codes of the row that they take, which the
// panel has, modulo 2^16: on the way they wrap around, but what they end at is the sum of the
// signed products, and fits. Codes of all 8 bits do not: two products of 255 and 127 saturate.
// vpmaddwd of codes widened to 16 bits multiplies as few times as |w| with the sign of w on x does,
// and spares the instruction for the sign.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kLargestWord = 32767;
constexpr int kLargestActivation = 127;

/// Of a format's codes, without their sign.
template <typename Format>
constexpr int kLargestCode =
    -Codes<Format>::kLeast > Codes<Format>::kMost ? -Codes<Format>::kLeast : Codes<Format>::kMost;

/// How many vectors' pairs of products with codes up to `most` can be added in 16 bits: 8, 4, 2, 1.
constexpr int vectors_in_words(int most) noexcept {
  int vectors = 8;
  while (vectors > 1 && 2 * vectors * most * kLargestActivation > kLargestWord) vectors /= 2;
  return vectors;
}

LETHE_AVX2_INLINE __m256i widened(__m256i words) noexcept {
  return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
}
/// Integer sums could be added in any order, and GCC 12 chooses one that has all products alive at
/// once, which takes three times the registers there are. This hides that `v` is a sum.
LETHE_AVX2_INLINE __m256i as_written(__m256i v) noexcept {
  asm("" : "+x"(v));
  return v;
}
LETHE_AVX2_INLINE __m256i added(bool first, __m256i sum, __m256i v) noexcept {
  return first ? v : as_written(_mm256_add_epi32(sum, v));
}

/// Bytes, and for signed ones the words that sums begin at.
template <typename Format>
struct ByteProducts {
  static constexpr bool kSigned = Codes<Format>::kLeast < 0;
  static constexpr int kMostInWords = vectors_in_words(kLargestCode<Format>);
  static constexpr int kInWords = Format::kHalfScales && kMostInWords == 8 ? 4 : kMostInWords;
  static constexpr int kFirstWords = 64 * kCodeVectors;
  static constexpr int kCodeBytes = kFirstWords + (kSigned ? 64 * kCodeVectors / kInWords : 0);
  static constexpr int kTokenBytes = kSigned ? kGroup : 0;
  // The bytes of kInWords vectors add up to a byte.
  static_assert(!kSigned || (kInWords * Codes<Format>::kMost <= 127 &&
                             kInWords * Codes<Format>::kLeast >= -128));

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) store_aligned(out + 64 * v, turned[v]);
    if constexpr (kSigned) {
#pragma GCC unroll 8
      for (int v = 0; v < kCodeVectors; v += kInWords) {
        __m256i sum = turned[v];
#pragma GCC unroll 8
        for (int j = 1; j < kInWords; ++j) sum = _mm256_add_epi8(sum, turned[v + j]);
        const __m256i by_128 = _mm256_maddubs_epi16(bytes(0x80), sum);
        store_aligned(out + kFirstWords + 64 * (v / kInWords),
                      _mm256_sub_epi16(_mm256_setzero_si256(), by_128));
      }
    }
  }

  LETHE_AVX2_INLINE static void prepare(const int8_t* codes, std::byte* out) noexcept {
    store_aligned(out, _mm256_xor_si256(load256(codes), bytes(0x80)));
  }

  LETHE_AVX2_INLINE static __m256i pairs(__m256i w, __m256i x) noexcept {
    return kSigned ? _mm256_maddubs_epi16(x, w) : _mm256_maddubs_epi16(w, x);
  }

  /// Products of kInWords vectors from v on, added in words. `x` are the codes of kQuad tokens.
  LETHE_AVX2_INLINE static void in_words(const std::byte* codes, const std::byte* x, int v,
                                         QuadInts& words) noexcept {
    const std::byte* first = codes + kFirstWords + 64 * (v / kInWords);
#pragma GCC unroll 8
    for (int j = v; j < v + kInWords; ++j) {
      const __m256i w[2] = {load_aligned(codes + 64 * j), load_aligned(codes + 64 * j + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i four = all_lanes(x + kGroup * q + 4 * j);
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          __m256i sum = pairs(w[r], four);
          if (j > v) {
            sum = as_written(_mm256_add_epi16(words[r][q], sum));
          } else if (kSigned) {
            sum = as_written(_mm256_add_epi16(load_aligned(first + 32 * r), sum));
          }
          words[r][q] = sum;
        }
      }
    }
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup& x,
                                     const std::byte* tokens, int64_t t, int,
                                     QuadInts& out) noexcept {
    const std::byte* quad =
        kSigned ? tokens + kTokenBytes * t : reinterpret_cast<const std::byte*>(x.codes[t]);
#pragma GCC unroll 8
    for (int v = kFirst; v < kFirst + kCount; v += kInWords) {
      QuadInts words;
      in_words(codes, quad, v, words);
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          out[r][q] = added(v == kFirst, out[r][q], widened(words[r][q]));
        }
      }
    }
  }
};

/// Any codes, as words: bytes 0 and 2 of a dword of codes, then bytes 1 and 3.
struct WordProducts {
  static constexpr int kCodeBytes = 128 * kCodeVectors;
  static constexpr int kTokenBytes = 2 * kGroup;

  LETHE_AVX2_INLINE static __m256i even(__m256i codes) noexcept {
    return _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8);
  }
  LETHE_AVX2_INLINE static __m256i odd(__m256i codes) noexcept {
    return _mm256_srai_epi16(codes, 8);
  }

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) {
      store_aligned(out + 128 * v, even(turned[v]));
      store_aligned(out + 128 * v + 64, odd(turned[v]));
    }
  }

  LETHE_AVX2_INLINE static void prepare(const int8_t* codes, std::byte* out) noexcept {
    store_aligned(out, even(load256(codes)));
    store_aligned(out + 32, odd(load256(codes)));
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup&,
                                     const std::byte* tokens, int64_t t, int,
                                     QuadInts& out) noexcept {
    const std::byte* quad = tokens + kTokenBytes * t;
#pragma GCC unroll 16
    for (int v = 2 * kFirst; v < 2 * (kFirst + kCount); ++v) {
      const __m256i w[2] = {load_aligned(codes + 64 * v), load_aligned(codes + 64 * v + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i two = all_lanes(quad + kTokenBytes * q + 4 * (v / 2) + 32 * (v % 2));
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          out[r][q] = added(v == 2 * kFirst, out[r][q], _mm256_madd_epi16(w[r], two));
        }
      }
    }
  }
};

/// Whether a pair of products of its codes fits 16 bits: signed ones, with up to 255.
template <typename Format>
constexpr bool kAsBytes =
    2 * kLargestCode<Format>*(Codes<Format>::kLeast < 0 ? 255 : kLargestActivation) <= kLargestWord;

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  if constexpr (kAsBytes<Format>) {
    set_tile<Format, ByteProducts<Format>>(table, encoding);
  } else {
    set_tile<Format, WordProducts>(table, encoding);
  }
}

}  // namespace

void install_avx2_int8_tile(KernelTable& table) noexcept {
#define LETHE_SET(name) set<name>(table, Encoding::name);
  LETHE_FOR_INT8_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
