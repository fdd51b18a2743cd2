#include "kernels/avx2_int8_tile.h"

#include "kernels/avx2.h"
#include "kernels/avx2_code_ranges.h"
#include "kernels/int8_encodings.h"

// Products of AVX2. vpmaddubsw multiplies unsigned bytes with signed ones and adds two products to
// 16 bits, which saturate; vpmaddwd with ones then widens to the 32 bits of a lane. What this costs
// depends on how many products 16 bits can hold, and so on the range of a format's codes:
//
//   codes      unsigned as       vectors added in 16 bits      operations per vector of 32 products
//   4 bits     0 .. 15           8                             2.1
//   e2m1, 5 bits, IQ3_S, IQ1     code - least, <= 31: 4        2.5
//   6 bits     0 .. 63           2                             3
//   IQ2, IQ3_XXS                 <= 124: 1                     3
//   8 bits, IQ4 (any int8)       kept as 16 bits               4, of which 2 multiply
//
// The offset is taken off as offset times the sum of the token's codes, in f32, where all of this
// is exact. Codes of all 8 bits do not fit: two products of 255 and 127 saturate. vpmaddwd of codes
// widened to 16 bits multiplies as few times as |w| with the sign of w on x does, and spares the
// instruction for the sign.

namespace lethe::kernels {

namespace {

using quant::Encoding;

constexpr int kLargestWord = 32767;
constexpr int kLargestActivation = 127;

/// How many vectors' pairs of products with codes 0 .. most can be added in 16 bits: 8, 4, 2, 1, 0.
constexpr int vectors_in_words(int most) noexcept {
  int vectors = 8;
  while (vectors > 0 && 2 * vectors * most * kLargestActivation > kLargestWord) vectors /= 2;
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

/// Unsigned bytes: code - kLeast.
template <typename Format>
struct ByteProducts {
  static constexpr int kLeast = Codes<Format>::kLeast;
  static constexpr int kInWords = vectors_in_words(Codes<Format>::kMost - kLeast);
  static constexpr int kCodeBytes = 64 * kCodeVectors;

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(out + 64 * v),
                         _mm256_sub_epi8(turned[v], bytes(kLeast)));
    }
  }

  /// Products of kVectors vectors from v on, added in words.
  template <int kVectors>
  LETHE_AVX2_INLINE static void in_words(const std::byte* codes, const int8_t (*x)[32], int v,
                                         __m256i (*words)[kQuad]) noexcept {
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const __m256i w[2] = {load_aligned(codes + 64 * (v + j)),
                            load_aligned(codes + 64 * (v + j) + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i four = all_lanes(x[q] + 4 * (v + j));
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          const __m256i pairs = _mm256_maddubs_epi16(w[r], four);
          words[r][q] = j == 0 ? pairs : as_written(_mm256_add_epi16(words[r][q], pairs));
        }
      }
    }
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup& x, int64_t t,
                                     int which, QuadSums& out) noexcept {
    constexpr int kVectors = kInWords < kCount ? kInWords : kCount;
    __m256i total[kRowHalves][kQuad];
#pragma GCC unroll 8
    for (int v = kFirst; v < kFirst + kCount; v += kVectors) {
      if constexpr (kVectors <= 2) {
        // Token by token: words are widened as soon as they are full.
        __m256i w[kRowHalves][kVectors];
#pragma GCC unroll 2
        for (int j = 0; j < kVectors; ++j) {
          w[0][j] = load_aligned(codes + 64 * (v + j));
          w[1][j] = load_aligned(codes + 64 * (v + j) + 32);
        }
#pragma GCC unroll 4
        for (int q = 0; q < kQuad; ++q) {
          const int8_t* token = x.codes[t + q] + 4 * v;
#pragma GCC unroll 2
          for (int r = 0; r < kRowHalves; ++r) {
            __m256i words = _mm256_maddubs_epi16(w[r][0], all_lanes(token));
            if constexpr (kVectors == 2) {
              words = _mm256_add_epi16(words, _mm256_maddubs_epi16(w[r][1], all_lanes(token + 4)));
            }
            total[r][q] = added(v == kFirst, total[r][q], widened(words));
          }
        }
      } else {
        __m256i words[kRowHalves][kQuad];
        in_words<kVectors>(codes, x.codes + t, v, words);
#pragma GCC unroll 4
        for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
          for (int r = 0; r < kRowHalves; ++r) {
            total[r][q] = added(v == kFirst, total[r][q], widened(words[r][q]));
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
      for (int r = 0; r < kRowHalves; ++r) {
        out[r][q] = _mm256_cvtepi32_ps(total[r][q]);
        if constexpr (kLeast != 0) {
          out[r][q] = _mm256_fmadd_ps(_mm256_broadcast_ss(x.sums[which] + t + q),
                                      _mm256_set1_ps(kLeast), out[r][q]);
        }
      }
    }
  }
};

/// Any codes, as words: 2 columns to a lane.
struct WordProducts {
  static constexpr int kCodeBytes = 128 * kCodeVectors;

  LETHE_AVX2_INLINE static void store(const __m256i* turned, std::byte* out) noexcept {
    // Two bytes of each dword to the high bytes of its words.
    const __m256i low = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13));
    const __m256i high = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-1, 2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15));
#pragma GCC unroll 8
    for (int v = 0; v < kCodeVectors; ++v) {
      auto* to = reinterpret_cast<__m256i*>(out + 128 * v);
      _mm256_store_si256(to, _mm256_srai_epi16(_mm256_shuffle_epi8(turned[v], low), 8));
      _mm256_store_si256(to + 2, _mm256_srai_epi16(_mm256_shuffle_epi8(turned[v], high), 8));
    }
  }

  template <int kFirst, int kCount>
  LETHE_AVX2_INLINE static void sums(const std::byte* codes, const Int8TileGroup& x, int64_t t, int,
                                     QuadSums& out) noexcept {
    alignas(32) int16_t words[kQuad][kGroup];
#pragma GCC unroll 4
    for (int q = 0; q < kQuad; ++q) {
#pragma GCC unroll 2
      for (int h = 0; h < kGroup; h += 16) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(words[q] + h),
                           _mm256_cvtepi8_epi16(load128(x.codes[t + q] + h)));
      }
    }
    asm volatile("" : : "r"(words) : "memory");  // read them there, not out of the vectors
    __m256i total[kRowHalves][kQuad];
#pragma GCC unroll 16
    for (int v = 2 * kFirst; v < 2 * (kFirst + kCount); ++v) {
      const __m256i w[2] = {load_aligned(codes + 64 * v), load_aligned(codes + 64 * v + 32)};
#pragma GCC unroll 4
      for (int q = 0; q < kQuad; ++q) {
        const __m256i two = all_lanes(words[q] + 2 * v);
#pragma GCC unroll 2
        for (int r = 0; r < kRowHalves; ++r) {
          total[r][q] = added(v == 2 * kFirst, total[r][q], _mm256_madd_epi16(w[r], two));
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
  if constexpr (vectors_in_words(Codes<Format>::kMost - Codes<Format>::kLeast) > 0) {
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
