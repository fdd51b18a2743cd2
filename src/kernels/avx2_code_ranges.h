#pragma once

#include "kernels/avx2_codebook_formats.h"

// The ranges of the codes of avx2_block_formats.h and avx2_codebook_formats.h: what decides how
// many products fit 16 bits. Only for translation units with wide flags.

namespace lethe::kernels {
namespace {

/// The codes that a format can have.
template <typename Format>
struct Codes {
  static constexpr int kLeast = -128;
  static constexpr int kMost = 127;
};
template <int least, int most>
struct Between {
  static constexpr int kLeast = least;
  static constexpr int kMost = most;
};
template <typename Entry, size_t rows, size_t columns>
constexpr int largest(const Entry (&grid)[rows][columns]) noexcept {
  int most = 0;
  for (const auto& row : grid) {
    for (const int code : row) most = code > most ? code : most;
  }
  return most;
}
/// Magnitudes of a codebook, with signs.
template <int most>
using Signed = Between<-most, most>;

// clang-format off
template <> struct Codes<Fp4Row> : Between<-12, 12> {};
template <> struct Codes<MXFP4> : Between<-12, 12> {};
template <> struct Codes<NVFP4> : Between<-12, 12> {};
template <> struct Codes<Q4_0> : Between<-8, 7> {};
template <> struct Codes<Q4_1> : Between<0, 15> {};
template <> struct Codes<Q5_0> : Between<-16, 15> {};
template <> struct Codes<Q5_1> : Between<0, 31> {};
template <> struct Codes<Q2_K> : Between<0, 3> {};
template <> struct Codes<Q3_K> : Between<-4, 3> {};
template <> struct Codes<Q4_K> : Between<0, 15> {};
template <> struct Codes<Q5_K> : Between<0, 31> {};
template <> struct Codes<Q6_K> : Between<-32, 31> {};
template <> struct Codes<IQ1_S> : Signed<8 * largest(kIq1sGrid) + 1> {};
template <> struct Codes<IQ1_M> : Signed<8 * largest(kIq1sGrid) + 1> {};
template <> struct Codes<IQ2_XXS> : Signed<largest(kIq2xxsGrid)> {};
template <> struct Codes<IQ2_XS> : Signed<largest(kIq2xsGrid)> {};
template <> struct Codes<IQ2_S> : Signed<largest(kIq2sGrid)> {};
template <> struct Codes<IQ3_XXS> : Signed<largest(kIq3xxsGrid)> {};
template <> struct Codes<IQ3_S> : Signed<largest(kIq3sGrid)> {};
// clang-format on

}  // namespace
}  // namespace lethe::kernels
