#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lethe {

/// Finds one marker in a stream of bytes, keeping the longest prefix of it that the bytes so far
/// end with (Knuth, Morris, Pratt: constant amortised time per byte).
class MarkerMatcher {
 public:
  /// `marker` is not empty. With `takes_newlines`, newlines directly before it belong to it.
  explicit MarkerMatcher(std::string_view marker, bool takes_newlines = false);

  /// Takes the next byte; true when the marker is complete with it.
  bool feed(char byte);
  /// Bytes at the end of the stream that may belong to a marker: the longest match so far.
  size_t pending() const noexcept { return matched_ + newlines_; }
  void reset() noexcept { matched_ = newlines_ = 0; }

 private:
  std::string marker_;
  std::vector<size_t> failure_;  // length of the longest border of each prefix
  bool takes_newlines_;
  size_t matched_ = 0;
  size_t newlines_ = 0;  // directly before the matched prefix
};

}  // namespace lethe
