#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/model_config.h"

namespace lethe::synth {

/// A byte-level BPE vocabulary of any size, for checkpoints of random weights: the 256 bytes,
/// merges of frequent letters, and the special tokens of spec/encoding.md section 2. It tokenizes
/// any text; with 129,280 entries the special tokens stand where the released tokenizer has them,
/// as far as their ids are known.
struct Vocabulary {
  std::vector<std::string> tokens;  ///< by id, GPT-2 byte alphabet; special tokens as they are
  std::vector<std::pair<std::string, std::string>> merges;  ///< by rank
  int64_t num_leading_special = 0;                          ///< ids 0..: BOS, EOS, padding
  int64_t first_trailing_special = 0;

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  bool is_special(int64_t id) const {
    return id < num_leading_special || id >= first_trailing_special;
  }
  /// Id of a special token. Aborts if there is none of that text.
  int64_t id_of_special(std::string_view text) const;
};

/// Entries that the special tokens and the bytes need.
int64_t min_vocab_size(ModelFamily family);

/// vocab_size entries. Throws UsageError if that is less than min_vocab_size or more than the
/// merges give (about 494,000).
Vocabulary make_vocabulary(ModelFamily family, int64_t vocab_size);

inline constexpr std::string_view kNoiseToken = "<｜deepseek_noise｜>";  ///< V4.1: DSpark
inline constexpr std::string_view kImageToken = "<｜deepseek_image｜>";  ///< V4.1
inline constexpr int64_t kPaddingId = 2;

/// tokenizer.json as Hugging Face `tokenizers` reads it.
std::string tokenizer_json(const Vocabulary& vocabulary);
/// tokenizer_config.json: the names of the BOS, EOS and padding tokens.
std::string tokenizer_config_json(const Vocabulary& vocabulary);

}  // namespace lethe::synth
