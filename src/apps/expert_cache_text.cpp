#include "apps/expert_cache_text.h"

#include <fmt/core.h>

#include "apps/units.h"

namespace lethe::apps {

std::string expert_cache_notice(const model::ExpertCache& cache) {
  const model::ExpertCache::Stats stats = cache.stats();
  return fmt::format(
      "{} of {} routed experts have a place in memory ({}); the others are read from disk when "
      "they "
      "are needed ({}), which takes time: see lethe plan",
      stats.slots, stats.experts, bytes_text(stats.slots * stats.slot_bytes), cache.reader_name());
}

std::string expert_cache_text(const model::ExpertCache::Stats& stats) {
  return fmt::format(
      "expert cache: {:.1f} % of {} uses found their expert in memory, {} were read ahead; read {} "
      "at {:.2f} GB/s, waited {:.2f} s",
      100 * stats.in_memory_share(), stats.uses(), stats.prefetched, bytes_text(stats.bytes_read),
      stats.read_gb_s(), stats.wait_s);
}

}  // namespace lethe::apps
