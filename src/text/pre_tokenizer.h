#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/deepseek_splitter.h"
#include "text/regex.h"

namespace lethe {

/// One "Split" step of a pre-tokenizer: matches become pieces of their own ("Isolated"), what lies
/// between them stays as it is.
struct SplitRule {
  std::string pattern;
  bool literal = false;  ///< plain text, not a regular expression
  bool operator==(const SplitRule&) const = default;
};

/// The three splits of DeepSeek-V3 and V4 (see DeepSeekSplitter).
const std::vector<SplitRule>& deepseek_splits();

/// The splits of GPT-2 (a ByteLevel step with "use_regex").
const std::vector<SplitRule>& gpt2_splits();

/// Cuts text into the pieces within which byte pairs may merge, by successive splits. A byte that
/// is not part of well-formed UTF-8 matches nothing, and text beside it is matched as if it were
/// the text's end. The pieces joined are the text. Immutable; any thread.
class PreTokenizer {
 public:
  enum class Engine {
    Auto,   ///< by hand where the splits are DeepSeek's
    Regex,  ///< always PCRE2: the slow twin
  };
  /// No splits: the whole text is one piece. Throws LoadError (see Regex); `where` names the file.
  PreTokenizer(const std::vector<SplitRule>& splits, const std::string& where,
               Engine engine = Engine::Auto);

  bool is_deepseek() const noexcept { return is_deepseek_; }

  /// Calls visit(std::string_view) for every piece in order; none is empty. Throws Error if an
  /// expression gives up on the text (see Regex::find).
  template <typename Visit>
  void for_each_piece(std::string_view text, Visit&& visit) const {
    if (is_deepseek_) {
      DeepSeekSplitter splitter(text);
      for (std::string_view piece; splitter.next(piece);) visit(piece);
    } else {
      for (const std::string_view piece : split_by_regex(text)) visit(piece);
    }
  }

 private:
  std::vector<std::string_view> split_by_regex(std::string_view text) const;

  bool is_deepseek_;
  std::vector<Regex> regexes_;
};

}  // namespace lethe
