#include "model/v41/engram_hash.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/error.h"
#include "model/v41/numpy_random.h"

namespace lethe::model::v41 {
namespace {

__extension__ using uint128 = unsigned __int128;

/// Seeds of consecutive layers are this far apart.
constexpr int64_t kSeedPerLayer = 10007;
constexpr int64_t kMaxPrime = int64_t{1} << 40;

uint64_t power_mod(uint64_t base, uint64_t exponent, uint64_t modulus) {
  uint64_t result = 1;
  for (base %= modulus; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = static_cast<uint64_t>(uint128{result} * base % modulus);
    base = static_cast<uint64_t>(uint128{base} * base % modulus);
  }
  return result;
}

/// One round of Miller-Rabin: false proves n composite. n odd, n - 1 = odd * 2^twos.
bool passes_round(uint64_t n, uint64_t base, uint64_t odd, int twos) {
  uint64_t x = power_mod(base, odd, n);
  if (x == 1 || x == n - 1) return true;
  for (int i = 1; i < twos; ++i) {
    x = static_cast<uint64_t>(uint128{x} * x % n);
    if (x == n - 1) return true;
  }
  return false;
}

/// Miller-Rabin to the first twelve prime bases, which decides every n below 3.3e24
/// (Sorenson and Webster, 2015).
bool is_prime(uint64_t n) {
  constexpr uint64_t kBases[] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
  if (n < 2) return false;
  for (const uint64_t base : kBases) {
    if (n % base == 0) return n == base;
  }
  uint64_t odd = n - 1;
  int twos = 0;
  for (; odd % 2 == 0; odd /= 2) ++twos;
  return std::all_of(std::begin(kBases), std::end(kBases),
                     [&](uint64_t base) { return passes_round(n, base, odd, twos); });
}

void check_config(const EngramConfig& c) {
  if (c.max_ngram_size < 2 || c.n_heads < 1 || c.vocab_size < 1 || c.vocab_size > kMaxPrime ||
      c.compressed_vocab_size < 1 || c.layer_ids.size() != c.num_embeddings.size()) {
    throw LoadError(
        "config: Engram needs engram_max_ngram_size >= 2 (found {}), engram_n_heads >= 1 (found "
        "{}), engram_vocab_size between 1 and 2^40 (found {}), engram_compressed_vocab_size >= 1 "
        "(found {}) and as many engram_num_embeddings as engram_layer_ids (found {} and {}).",
        c.max_ngram_size, c.n_heads, c.vocab_size, c.compressed_vocab_size, c.num_embeddings.size(),
        c.layer_ids.size());
  }
}

std::vector<int64_t> make_multipliers(const EngramConfig& config, int64_t layer_id) {
  const int64_t bound = std::numeric_limits<int64_t>::max() / config.compressed_vocab_size / 2;
  if (bound <= int64_t{std::numeric_limits<uint32_t>::max()} + 1) {
    throw LoadError("config: engram_compressed_vocab_size is {}; below 2^30 was expected.",
                    config.compressed_vocab_size);
  }
  NumpyRandom random(static_cast<uint64_t>(kSeedPerLayer * layer_id));
  std::vector<int64_t> multipliers(static_cast<size_t>(config.max_ngram_size));
  for (int64_t& m : multipliers) {
    m = 2 * static_cast<int64_t>(random.below(static_cast<uint64_t>(bound))) + 1;
  }
  return multipliers;
}

/// Takes the layer's columns from the consecutive primes from `next` on. (The release searches from
/// engram_vocab_size for each n-gram size and skips primes already taken anywhere, which visits
/// the same primes in the same order.)
EngramHashLayer make_layer(const EngramConfig& config, int64_t layer_id, int64_t& next) {
  EngramHashLayer layer;
  layer.multipliers = make_multipliers(config, layer_id);
  for (int64_t column = 0; column < config.columns(); ++column) {
    const int64_t prime = next_prime(next);
    next = prime + 1;
    layer.primes.push_back(prime);
    layer.offsets.push_back(layer.num_rows);
    layer.num_rows += prime;
  }
  return layer;
}

}  // namespace

int64_t next_prime(int64_t n) {
  auto candidate = static_cast<uint64_t>(std::max<int64_t>(n, 2));
  while (!is_prime(candidate)) ++candidate;
  return static_cast<int64_t>(candidate);
}

EngramHash::EngramHash(const EngramConfig& config, int32_t compressed_pad_id)
    : max_ngram_size_(config.max_ngram_size), n_heads_(config.n_heads), pad_(compressed_pad_id) {
  check_config(config);
  columns_ = config.columns();
  int64_t next = config.vocab_size;
  for (size_t i = 0; i < config.layer_ids.size(); ++i) {
    layers_.push_back(make_layer(config, config.layer_ids[i], next));
    if (layers_.back().num_rows != config.num_embeddings[i]) {
      throw LoadError(
          "config: the hash primes of Engram layer {} sum to {} table rows, but "
          "engram_num_embeddings says {}. engram_vocab_size, engram_n_heads or "
          "engram_max_ngram_size does not belong to this table.",
          config.layer_ids[i], layers_.back().num_rows, config.num_embeddings[i]);
    }
  }
}

void EngramHash::row_ids(size_t layer, std::span<const int32_t> before,
                         std::span<const int32_t> tokens, std::span<int64_t> rows) const {
  LETHE_CHECK(rows.size() == tokens.size() * static_cast<size_t>(columns_), "{} rows for {} tokens",
              rows.size(), tokens.size());
  const EngramHashLayer& hash = layers_.at(layer);
  const auto known = static_cast<int64_t>(before.size());
  // Compressed id at `position` relative to the run's first token; dead before the sequence.
  const auto id_at = [&](int64_t position) {
    if (position >= 0) return tokens[static_cast<size_t>(position)];
    return position >= -known ? before[static_cast<size_t>(known + position)] : kEngramDead;
  };
  for (int64_t t = 0; t < static_cast<int64_t>(tokens.size()); ++t) {
    bool blocked = false;  // latches: nothing before a dead token is seen either
    int64_t rolling = 0;
    auto column = static_cast<size_t>(t * columns_);
    for (int64_t s = 0; s < max_ngram_size_; ++s) {
      const int32_t id = id_at(t - s);
      blocked = blocked || id == kEngramDead;
      rolling ^= int64_t{blocked ? pad_ : id} * hash.multipliers[static_cast<size_t>(s)];
      for (int64_t head = 0; s > 0 && head < n_heads_; ++head, ++column) {
        const auto c = static_cast<size_t>((s - 1) * n_heads_ + head);
        rows[column] = rolling % hash.primes[c] + hash.offsets[c];
      }
    }
  }
}

}  // namespace lethe::model::v41
