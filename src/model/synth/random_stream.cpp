#include "model/synth/random_stream.h"

#include <cstring>

#include "base/check.h"

namespace lethe::synth {

namespace {

/// FNV-1a, 64 bit.
uint64_t hash_name(std::string_view name) noexcept {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

RandomStream::RandomStream(uint64_t seed, std::string_view name) noexcept : key_(seed) {
  key_ = word(0) ^ hash_name(name);
  key_ = word(1);
}

void RandomStream::fill(uint64_t begin, std::span<std::byte> out) const noexcept {
  LETHE_DCHECK(begin % 8 == 0);
  const uint64_t first = begin / 8;
  const size_t words = out.size() / 8;
  for (size_t i = 0; i < words; ++i) {
    const uint64_t value = word(first + i);
    std::memcpy(out.data() + 8 * i, &value, 8);
  }
  const size_t rest = out.size() % 8;
  if (rest > 0) {
    const uint64_t value = word(first + words);
    std::memcpy(out.data() + 8 * words, &value, rest);
  }
}

}  // namespace lethe::synth
