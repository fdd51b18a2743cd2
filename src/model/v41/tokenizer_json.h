#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lethe::model::v41 {

/// The vocabulary strings of a Hugging Face tokenizer.json by token id: `model.vocab` (in any
/// order) and `added_tokens`. Ids must be 0..n-1 without gaps; an id may appear in both places if
/// the strings agree. Nothing else of the file is interpreted. Throws LoadError.
std::vector<std::string> read_tokenizer_json_tokens(const std::string& path);
/// The same on text in memory; `path` is only for messages.
std::vector<std::string> parse_tokenizer_json_tokens(std::string_view json,
                                                     const std::string& path);

}  // namespace lethe::model::v41
