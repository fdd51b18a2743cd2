#include "text/marker_matcher.h"

#include "base/check.h"

namespace lethe {

MarkerMatcher::MarkerMatcher(std::string_view marker, bool takes_newlines)
    : marker_(marker), failure_(marker.size(), 0), takes_newlines_(takes_newlines) {
  LETHE_CHECK(!marker_.empty(), "an empty marker matches everywhere");
  LETHE_CHECK(!takes_newlines || marker_.front() != '\n', "the newlines before are counted apart");
  size_t border = 0;
  for (size_t i = 1; i < marker_.size(); ++i) {
    while (border > 0 && marker_[i] != marker_[border]) border = failure_[border - 1];
    if (marker_[i] == marker_[border]) ++border;
    failure_[i] = border;
  }
}

bool MarkerMatcher::feed(char byte) {
  if (matched_ == marker_.size()) reset();
  const size_t before = matched_;
  while (matched_ > 0 && marker_[matched_] != byte) matched_ = failure_[matched_ - 1];
  if (marker_[matched_] == byte) ++matched_;
  if (takes_newlines_ && matched_ != before + 1) {
    // The prefix broke: what it holds now begins later, with no newline before it but this byte.
    if (matched_ > 0 || byte != '\n') {
      newlines_ = 0;
    } else {
      newlines_ = before == 0 ? newlines_ + 1 : 1;
    }
  }
  return matched_ == marker_.size();
}

}  // namespace lethe
