// Engram token map and hashes against the golden data of the official implementation.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "model/v41/engram_hash.h"
#include "model/v41/engram_token_map.h"
#include "model/v41/tokenizer_json.h"
#include "model/v41_fixture.h"
#include "sha256.h"
#include "tensor/model_config.h"

namespace lethe::model::v41 {
namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

class EngramGolden : public testing::V41GoldenTest {
 protected:
  void SetUp() override {
    testing::V41GoldenTest::SetUp();
    if (!IsSkipped()) config_ = read_hf_config(file("config.json"));
  }

  std::vector<int32_t> compressed(const std::vector<int32_t>& tokens) const {
    const auto map = golden_->ints("engram.token_map");
    std::vector<int32_t> ids;
    for (const int32_t id : tokens) {
      ids.push_back(static_cast<int32_t>(map.at(static_cast<size_t>(id))));
    }
    return ids;
  }
  EngramHash make_hash() const {
    const auto pad =
        golden_->ints("engram.token_map").at(static_cast<size_t>(config_.engram.pad_token_id));
    return EngramHash(config_.engram, static_cast<int32_t>(pad));
  }
  /// hash_ids of all tokens in the golden order [tokens, layers, columns], hashed in chunks.
  static std::vector<int64_t> all_rows(const EngramHash& hash, std::span<const int32_t> ids,
                                       size_t chunk) {
    const auto columns = static_cast<size_t>(hash.columns());
    const size_t layers = hash.layers().size();
    std::vector<int64_t> result(ids.size() * layers * columns);
    for (size_t begin = 0; begin < ids.size(); begin += chunk) {
      const size_t n = std::min(chunk, ids.size() - begin);
      const size_t known = std::min(begin, static_cast<size_t>(hash.lookback()));
      std::vector<int64_t> rows(n * columns);
      for (size_t layer = 0; layer < layers; ++layer) {
        hash.row_ids(layer, ids.subspan(begin - known, known), ids.subspan(begin, n), rows);
        for (size_t i = 0; i < rows.size(); ++i) {
          result[((begin + i / columns) * layers + layer) * columns + i % columns] = rows[i];
        }
      }
    }
    return result;
  }

  ModelConfig config_;
};

TEST_P(EngramGolden, TokenMap) {
  const auto map = build_engram_token_map(read_tokenizer_json_tokens(file("tokenizer.json")));
  const auto expected = golden_->ints("engram.token_map");
  EXPECT_EQ(map.compressed, std::vector<int32_t>(expected.begin(), expected.end()));
  EXPECT_NO_THROW(
      check_engram_token_map(map, config_.engram.compressed_vocab_size, "tokenizer.json"));
  for (const auto& entry : read_json(file("token_map.json"))) {
    EXPECT_EQ(map.compressed.at(entry[0].get<size_t>()), entry[2].get<int32_t>()) << entry;
  }
}

TEST_P(EngramGolden, PrimesOffsetsMultipliers) {
  const EngramHash hash = make_hash();
  std::vector<int64_t> primes, offsets, multipliers;
  for (const EngramHashLayer& layer : hash.layers()) {
    primes.insert(primes.end(), layer.primes.begin(), layer.primes.end());
    offsets.insert(offsets.end(), layer.offsets.begin(), layer.offsets.end());
    multipliers.insert(multipliers.end(), layer.multipliers.begin(), layer.multipliers.end());
  }
  EXPECT_EQ(primes, golden_->ints("engram.primes"));
  EXPECT_EQ(offsets, golden_->ints("engram.offsets"));
  EXPECT_EQ(multipliers, golden_->ints("engram.multipliers"));
}

TEST_P(EngramGolden, HashIdsInAnyChunks) {
  const EngramHash hash = make_hash();
  const std::vector<int32_t> ids = compressed(tokens_);
  const auto expected = golden_->ints("hash_ids");
  for (const size_t chunk : {ids.size(), size_t{1}, size_t{2}, size_t{7}}) {
    EXPECT_EQ(all_rows(hash, ids, chunk), expected) << "chunk " << chunk;
  }
}

TEST_P(EngramGolden, HashIdsOfAnImagePrompt) {
  std::vector<int32_t> ids = compressed(golden_->tokens("img.ids"));
  const auto types = golden_->ints("img.types");
  ASSERT_EQ(types.size(), ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    if (types[i] >= 0) ids[i] = kEngramDead;
  }
  EXPECT_EQ(all_rows(make_hash(), ids, ids.size()), golden_->ints("img.hash_ids"));
  EXPECT_EQ(all_rows(make_hash(), ids, 5), golden_->ints("img.hash_ids"));
}

LETHE_FOR_EACH_V41_SET(EngramGolden);

TEST(EngramTokenMapGolden, RealVocabularyOfDeepSeekV3) {
  const std::string directory = (testing::shared_golden_dir() / "tokenizer").string();
  if (!std::filesystem::exists(directory + "/tokenizer.json")) {
    GTEST_SKIP() << directory << " is not here";
  }
  const auto map =
      build_engram_token_map(read_tokenizer_json_tokens(directory + "/tokenizer.json"));
  const auto golden = read_json(directory + "/token_map.json");
  EXPECT_EQ(map.compressed_size, golden["compressed_size"].get<int64_t>());
  const auto first = golden["first_2000"].get<std::vector<int32_t>>();
  EXPECT_TRUE(std::equal(first.begin(), first.end(), map.compressed.begin()));
  const auto* bytes = reinterpret_cast<const unsigned char*>(map.compressed.data());
  EXPECT_EQ(testing::sha256_hex({bytes, map.compressed.size() * sizeof(int32_t)}),
            golden["map_sha256_le_int32"].get<std::string>());
}

}  // namespace
}  // namespace lethe::model::v41
