#include "text/deepseek_splitter.h"

#include "text/char_class.h"
#include "text/code_point.h"

namespace lethe {

DeepSeekSplitter::DeepSeekSplitter(std::string_view text)
    : text_(text), classes_(char_class_table()) {}

bool DeepSeekSplitter::next(std::string_view& piece) {
  if (at_ == text_.size()) return false;
  const size_t end = piece_end(at_);
  piece = text_.substr(at_, end - at_);
  at_ = end;
  return true;
}

DeepSeekSplitter::Char DeepSeekSplitter::char_at(size_t at) const {
  if (at >= text_.size()) return {CharClass::kEnd, 0};
  const auto byte = static_cast<unsigned char>(text_[at]);
  if (byte < 0x80) return {classes_[byte], 1};
  const CodePoint c = code_point_at(text_, at);
  if (c.kind != CodePoint::Kind::Valid) return {CharClass::kInvalid, 1};
  return {classes_[c.value], c.length};
}

bool DeepSeekSplitter::is_ascii_letter(size_t at) const {
  if (at >= text_.size()) return false;
  const char lower = static_cast<char>(text_[at] | 0x20);
  return lower >= 'a' && lower <= 'z';
}

bool DeepSeekSplitter::here(uint8_t bits, uint8_t bit) const {
  return (bits & (bit | CharClass::kCjk)) == (bit | segment_);
}

size_t DeepSeekSplitter::skip(size_t at, uint8_t bit) const {
  for (Char c = char_at(at); here(c.bits, bit); c = char_at(at)) at += c.length;
  return at;
}

size_t DeepSeekSplitter::piece_end(size_t at) {
  const Char first = char_at(at);
  if (first.bits & CharClass::kNumber) return number_end(at);
  segment_ = first.bits & CharClass::kCjk;
  const size_t second_at = at + first.length;
  if (first.bits & CharClass::kWord) return skip(second_at, CharClass::kWord);
  if (first.bits & CharClass::kPunct) {
    // In ASCII, kPunct is exactly the 32 characters of the third pattern's first class.
    const bool leads_letters = first.length == 1 && is_ascii_letter(second_at);
    return leads_letters ? letters_end(second_at) : punctuation_end(at);
  }
  const Char second = char_at(second_at);
  const bool may_lead_word = (first.bits & (CharClass::kBreak | CharClass::kInvalid)) == 0;
  if (may_lead_word && here(second.bits, CharClass::kWord))
    return skip(second_at, CharClass::kWord);
  if (text_[at] == ' ' && here(second.bits, CharClass::kPunct)) return punctuation_end(second_at);
  return first.bits & CharClass::kSpace ? space_end(at) : unmatched_end(second_at);
}

size_t DeepSeekSplitter::number_end(size_t at) const {
  for (int digits = 0; digits < 3; ++digits) {
    const Char c = char_at(at);
    if ((c.bits & CharClass::kNumber) == 0) break;
    at += c.length;
  }
  return at;
}

size_t DeepSeekSplitter::letters_end(size_t at) const {
  while (is_ascii_letter(at)) ++at;
  return at;
}

size_t DeepSeekSplitter::punctuation_end(size_t at) const {
  at = skip(at, CharClass::kPunct);
  while (here(char_at(at).bits, CharClass::kBreak)) ++at;
  return at;
}

/// A run of white space: up to its last line break if it has one; all of it at the end of the
/// segment; otherwise all but the last character, which may lead what follows.
size_t DeepSeekSplitter::space_end(size_t at) const {
  size_t last = at;
  size_t end = at;
  size_t break_end = 0;
  Char c = char_at(at);
  for (; c.bits & CharClass::kSpace; c = char_at(end)) {
    last = end;
    end += c.length;
    if (c.bits & CharClass::kBreak) break_end = end;
  }
  if (break_end != 0) return break_end;
  const bool at_segment_end =
      (c.bits & (CharClass::kEnd | CharClass::kInvalid | CharClass::kNumber | CharClass::kCjk)) !=
      0;
  return at_segment_end || last == at ? end : last;
}

size_t DeepSeekSplitter::unmatched_end(size_t at) const {
  for (Char c = char_at(at);; c = char_at(at)) {
    const bool matches = (c.bits & (CharClass::kWord | CharClass::kNumber | CharClass::kPunct |
                                    CharClass::kSpace)) != 0;
    if (matches || (c.bits & CharClass::kEnd) || (c.bits & CharClass::kCjk) != segment_) return at;
    const bool leads_word =
        (c.bits & CharClass::kInvalid) == 0 && here(char_at(at + c.length).bits, CharClass::kWord);
    if (leads_word) return at;
    at += c.length;
  }
}

}  // namespace lethe
