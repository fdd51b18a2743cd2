#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lethe::model::v41 {

/// numpy.random.default_rng(seed): SeedSequence feeding PCG64 (XSL-RR 128/64), bit-exact.
/// Engram's hash multipliers were drawn with it. Source: spec/deepseek-v4.1.md section 6.3.
class NumpyRandom {
 public:
  explicit NumpyRandom(uint64_t seed);
  uint64_t next_u64();
  /// integers(0, bound, dtype=int64) for bound > 2^32; below, NumPy draws 32-bit words instead.
  uint64_t below(uint64_t bound);

 private:
  __extension__ using uint128 = unsigned __int128;
  uint128 state_ = 0;
  uint128 increment_ = 0;
};

/// The four 64-bit words that NumPy's SeedSequence(seed) hands to PCG64.
std::array<uint64_t, 4> numpy_seed_words(uint64_t seed);

}  // namespace lethe::model::v41
