#pragma once

#include <string>

#include "model/expert_cache.h"

namespace lethe::apps {

/// One line for people who have just loaded a model with a cache: what it holds.
std::string expert_cache_notice(const model::ExpertCache& cache);
/// What it did: "expert cache: 83.2 % of 1234 uses found their expert in memory, 30 were read
/// ahead; read 1.20 GB at 1.10 GB/s, waited 1.00 s".
std::string expert_cache_text(const model::ExpertCache::Stats& stats);

}  // namespace lethe::apps
