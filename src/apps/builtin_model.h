#pragma once

#include <string>
#include <string_view>

namespace lethe::apps {

/// The model that commands use when none is named.
inline constexpr std::string_view kDefaultModel = "mini";

/// The path of a model as people name it: the name of one that comes with Lethe, found beside the
/// program (models/NAME) or where it is installed (../share/lethe/models/NAME); else a path as it
/// is (./NAME for one that has a built-in model's name). Throws UsageError for a word
/// that is neither.
std::string model_path(const std::string& name);

/// One line on what to expect of a built-in model; empty for any other name.
std::string_view builtin_notice(std::string_view name);

}  // namespace lethe::apps
