#include "text/added_tokens.h"

#include <algorithm>

#include "base/check.h"

namespace lethe {

AddedTokens::AddedTokens(std::vector<Entry> entries) : entries_(std::move(entries)) {
  // string_view compares bytes as unsigned, as longest_at() expects.
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries_) {
    LETHE_CHECK(!entry.text.empty() && entry.text.size() <= kMaxBytes);
    first_bytes_.set(static_cast<unsigned char>(entry.text[0]));
  }
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text, size_t from) const {
  for (size_t at = from; at < text.size(); ++at) {
    if (!first_bytes_[static_cast<unsigned char>(text[at])]) continue;
    if (const auto match = longest_at(text, at)) return match;
  }
  return std::nullopt;
}

/// Narrows the sorted entries to those that share a prefix with the text, byte by byte; the
/// shortest of a prefix stands first.
std::optional<AddedTokens::Match> AddedTokens::longest_at(std::string_view text, size_t at) const {
  std::optional<Match> longest;
  auto low = entries_.begin();
  auto high = entries_.end();
  for (size_t depth = 0; low != high; ++depth) {
    if (low->text.size() == depth) {
      longest = Match{at, depth, low->id};
      ++low;
    }
    if (at + depth == text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    const auto byte_of = [&](const Entry& e) { return static_cast<unsigned char>(e.text[depth]); };
    low = std::partition_point(low, high, [&](const Entry& e) { return byte_of(e) < byte; });
    high = std::partition_point(low, high, [&](const Entry& e) { return byte_of(e) == byte; });
  }
  return longest;
}

std::optional<int32_t> AddedTokens::id_of(std::string_view text) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), text,
                                   [](const Entry& e, std::string_view t) { return e.text < t; });
  if (at == entries_.end() || at->text != text) return std::nullopt;
  return at->id;
}

}  // namespace lethe
