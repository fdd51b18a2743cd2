#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "base/error.h"
#include "model/v41/engram_hash.h"
#include "model/v41/numpy_random.h"

namespace lethe::model::v41 {
namespace {

// The released configuration. Source: spec/deepseek-v4.1.md sections 1, 6.2, 6.3.
EngramConfig released_config() {
  EngramConfig c;
  c.layer_ids = {1, 14};
  c.num_embeddings = {384006168, 384016682};
  c.max_ngram_size = 4;
  c.vocab_size = 16000000;
  c.n_heads = 8;
  c.head_dim = 256;
  c.pad_token_id = 2;
  c.compressed_vocab_size = 99092;
  return c;
}

TEST(NumpyRandom, SeedWordsOfTheReleasedLayers) {
  EXPECT_EQ(numpy_seed_words(10007),
            (std::array<uint64_t, 4>{0x77d32a348ad70d07u, 0x993ed609b84a4fa5u, 0xd5f972dec8698e49u,
                                     0x7d79ebaebcf148deu}));
  EXPECT_EQ(numpy_seed_words(140098),
            (std::array<uint64_t, 4>{0xdb5869feeeccf2beu, 0xad465727d9cf3645u, 0x5155d26378b6bab4u,
                                     0x9f9e49df66ff1c85u}));
}

TEST(NumpyRandom, FirstRawWordsOfTheReleasedLayers) {
  NumpyRandom layer1(10007);
  for (const uint64_t expected :
       {0xd2c3f84026661e33u, 0x0d4fb6969eb57435u, 0x62e6e1c58c3bd72bu, 0xcb7dd1a94ca96343u}) {
    EXPECT_EQ(layer1.next_u64(), expected);
  }
  NumpyRandom layer14(140098);
  for (const uint64_t expected :
       {0xba3ecc29cf07c111u, 0x8dac4bbe10610b7cu, 0x550b7148777ff213u, 0xe33b7455bc98449eu}) {
    EXPECT_EQ(layer14.next_u64(), expected);
  }
}

TEST(NumpyRandom, BelowStaysBelowAndRejectsWhatWouldBias) {
  // 2^63 + 1 rejects almost half of all draws.
  const uint64_t bound = (uint64_t{1} << 63) + 1;
  NumpyRandom random(0);
  for (int i = 0; i < 200; ++i) EXPECT_LT(random.below(bound), bound);
}

TEST(EngramHash, ReleasedPrimesOffsetsAndMultipliers) {
  const EngramHash hash(released_config(), 2);
  ASSERT_EQ(hash.layers().size(), 2u);
  EXPECT_EQ(hash.columns(), 24);
  const std::vector<int64_t> layer1 = {16000057, 16000079, 16000081, 16000097, 16000121, 16000129,
                                       16000133, 16000183, 16000189, 16000207, 16000211, 16000253,
                                       16000277, 16000289, 16000307, 16000321, 16000339, 16000381,
                                       16000393, 16000399, 16000403, 16000409, 16000447, 16000463};
  const std::vector<int64_t> layer14 = {16000477, 16000487, 16000499, 16000507, 16000511, 16000573,
                                        16000609, 16000627, 16000667, 16000669, 16000693, 16000697,
                                        16000711, 16000729, 16000759, 16000769, 16000781, 16000799,
                                        16000813, 16000819, 16000841, 16000877, 16000879, 16000889};
  EXPECT_EQ(hash.layers()[0].primes, layer1);
  EXPECT_EQ(hash.layers()[1].primes, layer14);
  EXPECT_EQ(hash.layers()[0].num_rows, 384006168);
  EXPECT_EQ(hash.layers()[1].num_rows, 384016682);
  EXPECT_EQ(hash.layers()[1].offsets[0], 0);
  EXPECT_EQ(hash.layers()[1].offsets[23],
            std::accumulate(layer14.begin(), layer14.end() - 1, int64_t{0}));
  EXPECT_EQ(hash.layers()[0].multipliers,
            (std::vector<int64_t>{76632096046245, 4839876093313, 35959672319349, 73987337458391}));
  EXPECT_EQ(hash.layers()[1].multipliers,
            (std::vector<int64_t>{67716810739261, 51510806800915, 30921347202721, 82619226485591}));
}

TEST(EngramHash, NextPrimeAgreesWithTrialDivision) {
  const auto by_division = [](int64_t n) {
    for (int64_t candidate = n;; ++candidate) {
      bool prime = candidate >= 2;
      for (int64_t d = 2; prime && d * d <= candidate; ++d) prime = candidate % d != 0;
      if (prime) return candidate;
    }
  };
  for (int64_t n = -3; n < 3000; ++n) ASSERT_EQ(next_prime(n), by_division(n)) << n;
  // Strong pseudoprimes to several of the first bases.
  for (const int64_t n : {3215031751, 2152302898747, 3474749660383}) {
    EXPECT_EQ(next_prime(n), by_division(n));
  }
}

TEST(EngramHash, RowsOfAChunkDoNotDependOnWhereItBegins) {
  const EngramHash hash(released_config(), 7);
  std::mt19937 random(1);
  std::vector<int32_t> ids(50);
  for (auto& id : ids) id = static_cast<int32_t>(random() % 99093) - 1;  // some dead
  ids[20] = kEngramDead;
  const auto columns = static_cast<size_t>(hash.columns());
  std::vector<int64_t> whole(ids.size() * columns);
  hash.row_ids(1, {}, ids, whole);
  for (size_t begin = 0; begin < ids.size(); ++begin) {
    const size_t known = std::min(begin, static_cast<size_t>(hash.lookback()));
    const std::span<const int32_t> all(ids);
    std::vector<int64_t> rows((ids.size() - begin) * columns);
    hash.row_ids(1, all.subspan(begin - known, known), all.subspan(begin), rows);
    EXPECT_TRUE(std::equal(rows.begin(), rows.end(),
                           whole.begin() + static_cast<std::ptrdiff_t>(begin * columns)))
        << begin;
  }
}

TEST(EngramHash, DeadTokenBlocksEverythingBeforeIt) {
  const EngramHash hash(released_config(), 7);
  const auto columns = static_cast<size_t>(hash.columns());
  // Tokens before the dead one differ; tokens after it must not see that.
  std::vector<int64_t> a(4 * columns), b(4 * columns);
  hash.row_ids(0, {}, std::vector<int32_t>{10, 11, kEngramDead, 12}, a);
  hash.row_ids(0, {}, std::vector<int32_t>{20, 21, kEngramDead, 12}, b);
  EXPECT_TRUE(std::equal(a.begin() + static_cast<std::ptrdiff_t>(2 * columns), a.end(),
                         b.begin() + static_cast<std::ptrdiff_t>(2 * columns)));
  EXPECT_FALSE(
      std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(2 * columns), b.begin()));
  // The dead token itself reads as four pads, and so does position 0 beyond its own id.
  std::vector<int64_t> pads(columns);
  hash.row_ids(0, std::vector<int32_t>{7, 7, 7}, std::vector<int32_t>{7}, pads);
  EXPECT_TRUE(
      std::equal(pads.begin(), pads.end(), a.begin() + static_cast<std::ptrdiff_t>(2 * columns)));
}

TEST(EngramHash, RefusesATableOfAnotherSize) {
  EngramConfig config = released_config();
  config.num_embeddings[1] = 384016683;
  try {
    EngramHash hash(config, 2);
    FAIL() << "accepted";
  } catch (const LoadError& error) {
    EXPECT_NE(std::string(error.what()).find("384016682"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("384016683"), std::string::npos) << error.what();
  }
  config = released_config();
  config.n_heads = 0;
  EXPECT_THROW(EngramHash(config, 2), LoadError);
  config = released_config();
  config.compressed_vocab_size = int64_t{1} << 40;
  EXPECT_THROW(EngramHash(config, 2), LoadError);
}

}  // namespace
}  // namespace lethe::model::v41
