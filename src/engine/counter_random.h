#pragma once

#include <cstdint>

namespace lethe::engine {

/// The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
/// 2014): a bijection in which every input bit reaches every output bit.
constexpr uint64_t mix_bits(uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// Number `index` of the stream `seed`: uniform over the multiples of 2^-53 in [0, 1). A pure
/// function: any number of a stream can be had without the ones before it. The seed is mixed before
/// the index comes in, or else streams of neighbouring seeds would be shifts of each other.
constexpr double counter_uniform(uint64_t seed, uint64_t index) noexcept {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd
  const uint64_t stream = mix_bits(seed + kGolden);
  const uint64_t bits = mix_bits(mix_bits(stream + kGolden * (index + 1)) + stream);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace lethe::engine
