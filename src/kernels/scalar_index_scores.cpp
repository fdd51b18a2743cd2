#include "kernels/index_scores.h"
#include "kernels/lanes.h"
#include "kernels/scalar.h"
#include "tensor/rounding.h"

namespace lethe::kernels {

namespace {

constexpr int kHeadLanes = static_cast<int>(kIndexHeadLanes);

struct DecodedKey {
  int32_t codes[kMaxIndexDim];  // doubled, in the order of quads
  float scales[kMaxIndexDim / kIndexGroup];
};

void decode(const std::byte* key, int64_t dim, DecodedKey& out) noexcept {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(key);
  for (int64_t g = 0; g < dim / kIndexGroup; ++g) {
    out.scales[g] = e8m0_to_f32(bytes[dim / 2 + g]);
    for (int64_t i = 0; i < 8; ++i) {
      for (int64_t m = 0; m < 4; ++m) {
        const int64_t d = g * kIndexGroup + index_quad_dim(i, m);
        const uint8_t pair = bytes[d / 2];
        const float value = e2m1_to_f32(d % 2 == 0 ? pair : static_cast<uint8_t>(pair >> 4));
        out.codes[g * kIndexGroup + 4 * i + m] = static_cast<int32_t>(2 * value);
      }
    }
  }
}

/// dots[h] of 16 heads.
void head_dots(const int8_t* codes, const DecodedKey& key, int64_t dim, float* dots) noexcept {
  for (int h = 0; h < kHeadLanes; ++h) dots[h] = 0;
  for (int64_t g = 0; g < dim / kIndexGroup; ++g) {
    int32_t sums[kHeadLanes] = {};
    for (int64_t i = 0; i < 8; ++i, codes += 4 * kHeadLanes) {
      const int32_t* const quad = key.codes + g * kIndexGroup + 4 * i;
      for (int h = 0; h < kHeadLanes; ++h) {
        for (int m = 0; m < 4; ++m) sums[h] += codes[4 * h + m] * quad[m];
      }
    }
    for (int h = 0; h < kHeadLanes; ++h) dots[h] += key.scales[g] * static_cast<float>(sums[h]);
  }
}

void index_scores(const IndexQueryCodes& query, const std::byte* keys, int64_t stride,
                  int64_t count, float* out) noexcept {
  DecodedKey key;
  for (int64_t j = 0; j < count; ++j) {
    decode(keys + j * stride, query.dim, key);
    float lanes[kHeadLanes] = {};
    for (int64_t h = 0; h < query.heads; h += kHeadLanes) {
      float dots[kHeadLanes];
      head_dots(query.codes + h * query.dim, key, query.dim, dots);
      for (int l = 0; l < kHeadLanes; ++l) {
        lanes[l] += query.weights[h + l] * (dots[l] > 0 ? dots[l] : 0.0F);
      }
    }
    out[j] = reduce_lanes<kHeadLanes>(lanes);
  }
}

}  // namespace

void install_scalar_index_scores(KernelTable& table) noexcept {
  table.index_scores = index_scores;
}

}  // namespace lethe::kernels
