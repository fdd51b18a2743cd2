#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lethe::testing {

/// What a scripted model says, token by token. Each text is one token: one that the tokenizer of
/// V4.1 has anyway (`</think>`), or a new one, an added token that is not special. The token after
/// a text is the next one of its chain, wherever the text stands in a prompt or an answer; a chain
/// whose last text does not stand earlier in a chain ends with the end-of-sentence token.
struct Script {
  std::vector<std::vector<std::string>> chains = {};
  /// What follows a token that is in no chain (a letter, the end-of-sentence token); empty: the
  /// end-of-sentence token.
  std::vector<std::string> otherwise = {};
};

/// `</think>`: "Hello, I remember."; `<think>`: "Let me see.", then `</think>` as above; the
/// opening of a tool block as a forced call has it in its prompt: a call of get_weather(city:
/// "Paris"); anything else: "Once upon a time."
Script default_script();

/// Writes a V4.1 checkpoint in the released format (1 MB) that follows the script: directory
/// with config.json, tokenizer.json and weights, 65,536 tokens of context, no draft head. At every
/// step the scripted token's logit is 128 and all others are 0, in every numerics mode, so that
/// sampling at temperature 1 gives it too. The same script gives the same bytes.
///
/// How: all layers add nothing, so the last norm sees the token's embedding. Embeddings are rows of
/// a Hadamard matrix, orthogonal to each other, one for each token that stands before another in
/// the script, and one for all the rest; a row of the head is the sum of the embeddings of the
/// tokens that it follows.
///
/// Throws Error if the script gives a token two followers, has too many tokens (about 120), or uses
/// a text that is an ordinary token of the vocabulary.
void write_scripted_checkpoint(const std::filesystem::path& directory, const Script& script);

}  // namespace lethe::testing
