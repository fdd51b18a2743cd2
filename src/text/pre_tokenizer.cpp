#include "text/pre_tokenizer.h"

#include "text/code_point.h"

namespace lethe {
namespace {

/// Line breaks of a pattern as escapes: files hold them either way.
std::string with_escaped_breaks(const std::string& pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

bool is_deepseek_v3(std::vector<SplitRule> splits) {
  for (SplitRule& split : splits) split.pattern = with_escaped_breaks(split.pattern);
  return splits == deepseek_splits();
}

/// The end of the well-formed text that begins at `at`.
size_t well_formed_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    const CodePoint c = code_point_at(text, at);
    if (c.kind != CodePoint::Kind::Valid) break;
    at += c.length;
  }
  return at;
}

/// Cuts one piece: matches and what lies between them.
void split_piece(const Regex& regex, std::string_view piece, Regex::Scratch& scratch,
                 std::vector<std::string_view>& out) {
  size_t unmatched = 0;  // where the text not yet handed out begins
  for (size_t begin = 0; begin < piece.size();) {
    const size_t end = well_formed_end(piece, begin);
    const std::string_view part = piece.substr(begin, end - begin);
    for (size_t from = 0; from < part.size();) {
      const auto match = regex.find(part, from, scratch);
      if (!match) break;
      const size_t match_begin = begin + match->begin;
      if (match_begin > unmatched) out.push_back(piece.substr(unmatched, match_begin - unmatched));
      out.push_back(part.substr(match->begin, match->end - match->begin));
      from = match->end;
      unmatched = begin + match->end;
    }
    begin = end;
    while (begin < piece.size()) {
      const CodePoint c = code_point_at(piece, begin);
      if (c.kind == CodePoint::Kind::Valid) break;
      begin += c.length;
    }
  }
  if (unmatched < piece.size()) out.push_back(piece.substr(unmatched));
}

}  // namespace

const std::vector<SplitRule>& deepseek_splits() {
  static const std::vector<SplitRule> splits = {
      {R"(\p{N}{1,3})"},
      {"[一-龥\u3040-ゟ゠-ヿ]+"},
      {R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
       R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
  };
  return splits;
}

const std::vector<SplitRule>& gpt2_splits() {
  static const std::vector<SplitRule> splits = {
      {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"},
  };
  return splits;
}

PreTokenizer::PreTokenizer(const std::vector<SplitRule>& splits, const std::string& where,
                           Engine engine)
    : is_deepseek_(engine == Engine::Auto && is_deepseek_v3(splits)) {
  if (is_deepseek_) return;
  for (const SplitRule& split : splits) regexes_.emplace_back(split.pattern, split.literal, where);
}

std::vector<std::string_view> PreTokenizer::split_by_regex(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  Regex::Scratch scratch;
  for (const Regex& regex : regexes_) {
    std::vector<std::string_view> finer;
    for (const std::string_view piece : pieces) split_piece(regex, piece, scratch, finer);
    pieces = std::move(finer);
  }
  return pieces;
}

}  // namespace lethe
