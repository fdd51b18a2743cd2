#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/model_config.h"

namespace lethe::internal {

/// Most layers a configuration may have (spec/formats.md 2.2 rule 8).
inline constexpr int64_t kMaxLayers = 512;

/// Brings `compress_ratios` to one entry per layer and draft block: missing entries of draft blocks
/// are 0, and zeros beyond them (later V4 revisions) are dropped. Adds a fault if others are there.
void fit_compress_ratios(ModelConfig& config, std::vector<std::string>& faults);

/// Throws a LoadError that lists `faults` (of reading: "FIELD: ...") and config_faults(config), but
/// of the latter none about a field that a fault of reading names already.
void throw_config_faults(const ModelConfig& config, std::vector<std::string> faults,
                         const std::string& path);

}  // namespace lethe::internal
