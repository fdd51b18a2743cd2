#pragma once

#include <cstdint>
#include <string>

namespace lethe::mini {

/// Copies a model's directory to `target` (which must not exist) and fills the Engram tables of the
/// copy with zeros: the model is the same, its memory is empty. Returns how many bytes were
/// cleared. Throws IoError, or LoadError if there is no table.
int64_t copy_without_engram(const std::string& model, const std::string& target);

}  // namespace lethe::mini
