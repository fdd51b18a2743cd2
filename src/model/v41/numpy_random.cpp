#include "model/v41/numpy_random.h"

#include <bit>
#include <limits>
#include <utility>

#include "base/check.h"

namespace lethe::model::v41 {
namespace {

/// SeedSequence's word hash: a running constant is multiplied along.
class WordHash {
 public:
  WordHash(uint32_t constant, uint32_t multiplier) : constant_(constant), multiplier_(multiplier) {}
  uint32_t operator()(uint32_t value) {
    value ^= constant_;
    constant_ *= multiplier_;
    value *= constant_;
    return value ^ (value >> 16);
  }

 private:
  uint32_t constant_;
  uint32_t multiplier_;
};

uint32_t mix(uint32_t x, uint32_t y) {
  const uint32_t r = 0xca01f9ddu * x - 0x4973f715u * y;
  return r ^ (r >> 16);
}

/// Entropy pool of a seed of at most 64 bits (two words; the other two count as zero).
std::array<uint32_t, 4> seed_pool(uint64_t seed) {
  const std::array<uint32_t, 4> entropy = {static_cast<uint32_t>(seed),
                                           static_cast<uint32_t>(seed >> 32), 0, 0};
  WordHash hash(0x43b0d7e5u, 0x931e8875u);
  std::array<uint32_t, 4> pool{};
  for (size_t i = 0; i < 4; ++i) pool[i] = hash(entropy[i]);
  for (size_t src = 0; src < 4; ++src) {
    for (size_t dst = 0; dst < 4; ++dst) {
      if (src != dst) pool[dst] = mix(pool[dst], hash(pool[src]));
    }
  }
  return pool;
}

}  // namespace

std::array<uint64_t, 4> numpy_seed_words(uint64_t seed) {
  const std::array<uint32_t, 4> pool = seed_pool(seed);
  WordHash hash(0x8b51f9ddu, 0x58f38dedu);
  std::array<uint64_t, 4> words{};
  for (size_t i = 0; i < 8; ++i) words[i / 2] |= uint64_t{hash(pool[i % 4])} << (32 * (i % 2));
  return words;
}

NumpyRandom::NumpyRandom(uint64_t seed) {
  const auto w = numpy_seed_words(seed);
  increment_ = ((uint128{w[2]} << 64 | w[3]) << 1) | 1;
  next_u64();
  state_ += uint128{w[0]} << 64 | w[1];
  next_u64();
}

uint64_t NumpyRandom::next_u64() {
  constexpr uint128 kMultiplier = uint128{0x2360ED051FC65DA4u} << 64 | 0x4385DF649FCCF645u;
  state_ = state_ * kMultiplier + increment_;
  const auto high = static_cast<uint64_t>(state_ >> 64);
  return std::rotr(high ^ static_cast<uint64_t>(state_), static_cast<int>(high >> 58));
}

uint64_t NumpyRandom::below(uint64_t bound) {
  LETHE_CHECK(bound > uint64_t{std::numeric_limits<uint32_t>::max()} + 1, "bound {}", bound);
  const uint64_t threshold = (0 - bound) % bound;
  uint128 product = uint128{next_u64()} * bound;
  while (static_cast<uint64_t>(product) < threshold) product = uint128{next_u64()} * bound;
  return static_cast<uint64_t>(product >> 64);
}

}  // namespace lethe::model::v41
