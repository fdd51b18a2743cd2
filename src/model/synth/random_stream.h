#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lethe::synth {

/// Random bytes by position: word w of a stream is a function of the seed, the stream's name and w
/// alone, so a tensor comes out the same however it is cut into chunks. The generator is splitmix64
/// (Steele, Lea, Flood 2014) run as a counter. Not for cryptography. Pure; any thread.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name) noexcept;

  uint64_t word(uint64_t index) const noexcept {
    uint64_t z = key_ + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /// Bytes [begin, begin + out.size()) of the stream (little-endian words). begin % 8 == 0.
  void fill(uint64_t begin, std::span<std::byte> out) const noexcept;

 private:
  uint64_t key_;
};

}  // namespace lethe::synth
