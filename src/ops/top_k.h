#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lethe::ops {

/// Indices of the k largest scores, best first; ties go to the lower index. Fewer if there are
/// fewer scores, or if the rest are -infinity. Pure; any thread.
std::vector<int32_t> top_k(std::span<const float> scores, int64_t k);

}  // namespace lethe::ops
