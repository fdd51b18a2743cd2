#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/model_config.h"

namespace lethe::model::v41 {

/// Compressed id of a token inside an image span: no n-gram may reach over it.
inline constexpr int32_t kEngramDead = -1;

/// Hash constants of one Engram layer. Columns are n-gram-major, head-minor: column
/// (n - 2) * n_heads + head belongs to n-grams of size n.
struct EngramHashLayer {
  std::vector<int64_t> primes;       ///< [columns]
  std::vector<int64_t> offsets;      ///< [columns]: first table row of the column
  std::vector<int64_t> multipliers;  ///< [max_ngram_size]
  int64_t num_rows = 0;              ///< sum of the primes = rows of the table
};

/// Which table rows each token reads: `columns()` row ids per token and Engram layer, from the
/// compressed ids of the token and the max_ngram_size - 1 tokens before it. Depends on token ids
/// only, so it can run ahead of the layers. Immutable; any thread.
/// Source: spec/deepseek-v4.1.md sections 6.2 to 6.4.
class EngramHash {
 public:
  /// Of a model without Engram layers.
  EngramHash() = default;
  /// `compressed_pad_id`: compressed id of engram_pad_token_id. Throws LoadError if the primes do
  /// not sum to engram_num_embeddings or a number is outside what the hash is defined for.
  EngramHash(const EngramConfig& config, int32_t compressed_pad_id);

  const std::vector<EngramHashLayer>& layers() const noexcept { return layers_; }
  int64_t columns() const noexcept { return columns_; }
  /// Tokens before the first of a chunk that its hashes depend on.
  int64_t lookback() const noexcept { return layers_.empty() ? 0 : max_ngram_size_ - 1; }

  /// Row ids, offsets included, of a run of tokens.
  /// `before`: int32 compressed ids (or kEngramDead) of the positions just before the run; fewer
  /// than lookback() only if the run starts so early. `tokens`: int32 [n], `rows`: int64
  /// [n, columns()]. `layer` counts Engram layers.
  void row_ids(size_t layer, std::span<const int32_t> before, std::span<const int32_t> tokens,
               std::span<int64_t> rows) const;

 private:
  int64_t max_ngram_size_ = 0;
  int64_t n_heads_ = 0;
  int64_t columns_ = 0;
  int32_t pad_ = 0;
  std::vector<EngramHashLayer> layers_;
};

/// The smallest prime >= n. n must be below 2^62.
int64_t next_prime(int64_t n);

}  // namespace lethe::model::v41
