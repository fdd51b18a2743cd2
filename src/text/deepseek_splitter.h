#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lethe {

/// Cuts text into the pieces of the DeepSeek-V3 pre-tokenizer (V4 keeps it), by hand: what three
/// successive "isolated" splits give (spec formats.md section 3.3, tokenizer.json):
///
///   1. \p{N}{1,3}
///   2. [U+4E00-9FA5 U+3040-309F U+30A0-30FF]+
///   3. [!-/:-~][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ | ?[\p{P}\p{S}]+[\r\n]*
///      | \s*[\r\n]+ | \s+(?!\S) | \s+      (the class is ASCII punctuation, letters left out)
///
/// What nothing matches stays one piece up to the next match. A byte that is not part of
/// well-formed UTF-8 matches nothing, and text beside it is cut as if it were the text's end.
/// The pieces joined are the text. Linear in the text; nothing is allocated. The slow twin is
/// RegexSplitter with the three patterns; tests compare the two.
class DeepSeekSplitter {
 public:
  /// `text` must outlive the splitter.
  explicit DeepSeekSplitter(std::string_view text);

  /// The next piece, never empty; false at the end.
  bool next(std::string_view& piece);

 private:
  struct Char {
    uint8_t bits;
    uint8_t length;
  };
  Char char_at(size_t at) const;
  bool is_ascii_letter(size_t at) const;
  /// Whether a character with `bits` has `bit` and lies in the segment being cut: splits 1 and 2
  /// bound what split 3 sees.
  bool here(uint8_t bits, uint8_t bit) const;
  size_t skip(size_t at, uint8_t bit) const;
  size_t piece_end(size_t at);
  size_t number_end(size_t at) const;
  size_t letters_end(size_t at) const;
  size_t punctuation_end(size_t at) const;
  size_t space_end(size_t at) const;
  size_t unmatched_end(size_t at) const;

  std::string_view text_;
  const uint8_t* classes_;
  size_t at_ = 0;
  uint8_t segment_ = 0;  // kCjk inside a run of split 2, else 0
};

}  // namespace lethe
