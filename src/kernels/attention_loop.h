#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/e8m0_value.h"

// The loop over blocks of keys, written once for the wide sets. Only for translation units with
// wide flags: everything is in an unnamed namespace.

namespace lethe::kernels {

namespace {

#define LETHE_INLINE [[gnu::always_inline]] inline

constexpr int64_t kBlock = 64;  // keys per step of the running max

/// What a block step works on. heads and dim are padded.
struct AttentionRoom {
  int64_t heads;
  int64_t dim;
  int64_t count;  ///< keys in the block
  std::byte* queries;
  std::byte* panel;    ///< rows as scores want them
  std::byte* values;   ///< rows as sums want them; may be the panel
  float* scores;       ///< [kBlock][heads], then e^
  std::byte* weights;  ///< e^ as sums want them
  float* factor;       ///< [heads]: what a larger max makes of the sums so far
};

LETHE_INLINE AttentionRoom divide_room(const AttentionQuery& query, std::byte* scratch) noexcept {
  AttentionRoom room;
  room.heads = padded_lanes(query.heads);
  room.dim = padded_lanes(query.dim);
  room.count = 0;
  room.queries = scratch;
  room.panel = room.queries + 4 * room.heads * room.dim;
  room.values = room.panel + 4 * kBlock * room.dim;
  room.scores = reinterpret_cast<float*>(room.values + 4 * kBlock * room.dim);
  room.weights = reinterpret_cast<std::byte*>(room.scores + kBlock * room.heads);
  room.factor = reinterpret_cast<float*>(room.weights + 4 * kBlock * room.heads);
  return room;
}

/// e^x for x <= 0 or just above: 2^n e^r with n = round(x / ln 2), |r| <= 0.35, and e^r by its
/// series up to r^7 / 7!, which leaves out less than 6e-9. 0 below -87.3; NaN stays.
template <typename V>
LETHE_INLINE typename V::Vec exp_of(typename V::Vec x) noexcept {
  using Vec = typename V::Vec;
  const Vec n = V::round(V::mul(x, V::set(1.44269504F)));
  Vec r = V::fma(n, V::set(-0.693359375F), x);  // ln 2 in two parts: the first is short
  r = V::fma(n, V::set(2.12194440e-4F), r);
  Vec p = V::set(1.0F / 5040);
  p = V::fma(p, r, V::set(1.0F / 720));
  p = V::fma(p, r, V::set(1.0F / 120));
  p = V::fma(p, r, V::set(1.0F / 24));
  p = V::fma(p, r, V::set(1.0F / 6));
  p = V::fma(p, r, V::set(0.5F));
  p = V::fma(p, r, V::set(1.0F));
  p = V::fma(p, r, V::set(1.0F));
  return V::zero_if_below(x, -87.3F, V::scale(p, n));
}

/// Turns the scores of a block into e^ and brings max, denominator and factor up to date.
template <typename V>
LETHE_INLINE void soften(const AttentionRoom& room, float scale,
                         const AttentionSums& out) noexcept {
  const typename V::Vec factor = V::set(scale);
  for (int64_t h = 0; h < room.heads; h += V::kWidth) {
    float* const scores = room.scores + h;
    typename V::Vec largest = V::load(scores);
    for (int64_t i = 1; i < room.count; ++i) {
      largest = V::max(largest, V::load(scores + i * room.heads));
    }
    const typename V::Vec before = V::load(out.max + h);
    const typename V::Vec max = V::max(V::mul(largest, factor), before);
    typename V::Vec sum = V::set(0);
    for (int64_t i = 0; i < room.count; ++i) {
      float* const score = scores + i * room.heads;
      const typename V::Vec e = exp_of<V>(V::sub(V::mul(V::load(score), factor), max));
      sum = V::add(sum, e);
      V::store(score, e);
    }
    const typename V::Vec shrink = exp_of<V>(V::sub(before, max));
    V::store(out.max + h, max);
    V::store(room.factor + h, shrink);
    V::store(out.denominator + h, V::fma(V::load(out.denominator + h), shrink, sum));
  }
}

/// V: the vector operations and the four steps of an instruction set.
template <typename V>
LETHE_INLINE void attend_in_blocks(const AttentionQuery& query, const AttentionKey* keys,
                                   int64_t count, const AttentionSums& out,
                                   std::byte* scratch) noexcept {
  AttentionRoom room = divide_room(query, scratch);
  V::pack_queries(query, room);
  for (int64_t h = 0; h < room.heads; ++h) out.max[h] = -1e30F;
  __builtin_memset(out.denominator, 0, sizeof(float) * static_cast<size_t>(room.heads));
  __builtin_memset(out.sums, 0, sizeof(float) * static_cast<size_t>(room.heads * room.dim));
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    room.count = count - begin < kBlock ? count - begin : kBlock;
    V::decode_rows(keys + begin, query.dim, room);
    V::score(room);
    soften<V>(room, query.scale, out);
    V::pack_weights(room);
    V::add_values(room, out.sums);
  }
}

}  // namespace

}  // namespace lethe::kernels
