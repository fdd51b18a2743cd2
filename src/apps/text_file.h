#pragma once

#include <string>

namespace lethe::apps {

/// The text of a file that a person names; a leading ~/ is the home folder. Throws UsageError:
/// missing, no regular file, not readable, larger than 16 MB, not UTF-8, with NUL bytes.
std::string read_text_file(const std::string& path);

/// A path with a leading ~/ replaced by the home folder.
std::string expanded_path(const std::string& path);

/// Throws UsageError if `text` is not UTF-8; `what` names it: "the prompt".
void check_utf8(const std::string& text, const std::string& what);

}  // namespace lethe::apps
