#include <algorithm>

#include "kernels/int8_encodings.h"
#include "kernels/scalar.h"
#include "quant/code_group.h"
#include "quant/fp_formats.h"
#include "quant/i_formats.h"
#include "quant/k_formats.h"
#include "quant/legacy_formats.h"

// Row dots in integers: 32 weight codes are unpacked once and multiplied with the codes of every
// token.

namespace lethe::kernels {

namespace {

using quant::CodeGroup;
using quant::Encoding;

constexpr int64_t kTokenTile = 8;  // tokens that share one unpacked group

// A ggml block type: group g of a row lies in block g / kGroups.
template <typename Format>
struct BlockRows {
  static constexpr bool kHalfScales = Format::kHalfScales;
  static constexpr bool kMins = Format::kMins;
  static void unpack(const WeightRow& row, int64_t g, CodeGroup& out) noexcept {
    const auto* data = reinterpret_cast<const uint8_t*>(row.data);
    Format::unpack(data + g / Format::kGroups * Format::kBlockBytes,
                   static_cast<int>(g % Format::kGroups), out);
  }
};

// The release's FP4: e2m1 as doubled integers, so half the scale.
struct Fp4Rows {
  static constexpr bool kHalfScales = false;
  static constexpr bool kMins = false;
  static void unpack(const WeightRow& row, int64_t g, CodeGroup& out) noexcept {
    const auto* pairs = reinterpret_cast<const uint8_t*>(row.data) + 16 * g;
    int8_t halves[CodeGroup::kSize];  // even elements, then odd
    quant::unpack_doubled_e2m1<16>(pairs, halves);
    for (int i = 0; i < 16; ++i) {
      out.codes[2 * i] = halves[i];
      out.codes[2 * i + 1] = halves[16 + i];
    }
    const float scale = row.scales_f32 ? load_unaligned<float>(row.scales + 4 * g)
                                       : e8m0_to_f32(static_cast<uint8_t>(row.scales[g]));
    out.scales[0] = scale * 0.5F;
  }
};

template <int kCount>
float dot_codes(const int8_t* a, const int8_t* b) noexcept {
  int32_t sum = 0;
  for (int i = 0; i < kCount; ++i) sum += static_cast<int16_t>(a[i]) * static_cast<int16_t>(b[i]);
  return static_cast<float>(sum);
}

// The value of one group for one token, as kernels/row_dot.h writes it.
template <typename Rows>
float group_value(const CodeGroup& w, const Activation& token, int64_t g) noexcept {
  const int8_t* codes = token.codes + CodeGroup::kSize * g;
  const float scale = token.scales[g];
  float value = 0;
  if constexpr (Rows::kHalfScales) {
    value = w.scales[0] * dot_codes<CodeGroup::kHalf>(w.codes, codes) +
            w.scales[1] * dot_codes<CodeGroup::kHalf>(w.codes + 16, codes + 16);
  } else {
    value = w.scales[0] * dot_codes<CodeGroup::kSize>(w.codes, codes);
  }
  value *= scale;
  if constexpr (Rows::kMins) {
    const int32_t* sums = token.sums + 2 * g;
    float min = 0;
    if constexpr (Rows::kHalfScales) {
      min = w.mins[0] * static_cast<float>(sums[0]) + w.mins[1] * static_cast<float>(sums[1]);
    } else {
      min = w.mins[0] * static_cast<float>(sums[0] + sums[1]);
    }
    value -= scale * min;
  }
  return value;
}

template <typename Rows>
void int8_row_dot(const WeightRow& row, int64_t n, const Activation* tokens, int64_t num_tokens,
                  float* out) noexcept {
  const int64_t groups = n / CodeGroup::kSize;
  for (int64_t first = 0; first < num_tokens; first += kTokenTile) {
    const int64_t tile = std::min(kTokenTile, num_tokens - first);
    float sums[kTokenTile] = {};
    CodeGroup weights;
    for (int64_t g = 0; g < groups; ++g) {
      Rows::unpack(row, g, weights);
      for (int64_t t = 0; t < tile; ++t) {
        sums[t] += group_value<Rows>(weights, tokens[first + t], g);
      }
    }
    std::copy_n(sums, tile, out + first);
  }
}

template <typename Format>
void set(KernelTable& table, Encoding encoding) noexcept {
  table.row_dot[static_cast<size_t>(encoding)] = int8_row_dot<BlockRows<Format>>;
}

}  // namespace

void install_scalar_int8_row_dots(KernelTable& table) noexcept {
  table.row_dot[static_cast<size_t>(Encoding::Fp4Row)] = int8_row_dot<Fp4Rows>;
#define LETHE_SET(name) set<quant::name>(table, Encoding::name);
  LETHE_FOR_BLOCK_ENCODINGS(LETHE_SET)
#undef LETHE_SET
}

}  // namespace lethe::kernels
