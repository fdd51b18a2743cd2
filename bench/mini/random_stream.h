#pragma once

#include <cstdint>
#include <vector>

#include "engine/counter_random.h"

namespace lethe::mini {

/// Random numbers that depend on the seed only, on every machine.
class RandomStream {
 public:
  explicit RandomStream(uint64_t seed) : seed_(seed) {}

  double uniform() { return engine::counter_uniform(seed_, next_++); }
  /// From 0 to bound - 1.
  int64_t below(int64_t bound) {
    return static_cast<int64_t>(uniform() * static_cast<double>(bound));
  }
  /// From low to high, both included.
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  template <typename T>
  const T& one_of(const std::vector<T>& values) {
    return values[static_cast<size_t>(below(static_cast<int64_t>(values.size())))];
  }

 private:
  uint64_t seed_;
  uint64_t next_ = 0;
};

}  // namespace lethe::mini
