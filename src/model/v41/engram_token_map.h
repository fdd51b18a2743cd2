#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lethe::model::v41 {

/// The compressed vocabulary of Engram: tokens that differ only by case, accents, width or
/// surrounding white space share one id, and n-grams are hashed over these ids.
/// Source: spec/deepseek-v4.1.md section 6.1.
struct EngramTokenMap {
  std::vector<int32_t> compressed;  ///< [tokens]: token id -> compressed id
  int64_t compressed_size = 0;      ///< number of distinct compressed ids
};

/// Builds the map from the raw vocabulary strings by token id, base vocabulary and added tokens
/// alike, as tokenizer.json or GGUF metadata hold them (GPT-2 byte alphabet). Compressed ids are
/// numbered by first appearance. A string that is not UTF-8 counts as a token of its own.
EngramTokenMap build_engram_token_map(std::span<const std::string> tokens);

/// Throws LoadError naming `source` and both numbers unless the map has `expected_size`
/// (config.json: engram_compressed_vocab_size) ids. A map of another size would hash every n-gram
/// to a wrong row.
void check_engram_token_map(const EngramTokenMap& map, int64_t expected_size,
                            const std::string& source);

/// The normal form under which decoded token texts are compared: NFKC, NFD, marks removed,
/// lower-cased, white space collapsed and stripped. `text` must be UTF-8; a text of nothing but
/// ASCII white space becomes " ", other white space becomes "".
std::string engram_normalize(std::string_view text);

}  // namespace lethe::model::v41
