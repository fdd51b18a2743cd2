#include "model/memory_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "base/direct_reader.h"
#include "base/error.h"
#include "base/system_memory.h"

namespace lethe::model {

namespace {

/// Sizes of the tensors of a spec where they are stored (weight, scales); empty if it is absent.
using TensorSizes = std::function<std::vector<int64_t>(const TensorSpec&)>;

MemoryNeeds needs_of(const ModelConfig& config, const TensorSizes& sizes_of) {
  constexpr auto kBlock = static_cast<int64_t>(DirectReader::kBlock);
  MemoryNeeds needs;
  std::map<std::tuple<bool, int64_t, int64_t>, int64_t> slots;  // (draft, block, expert)
  for (const TensorSpec& spec : expected_tensors(config)) {
    const std::vector<int64_t> sizes = sizes_of(spec);
    int64_t bytes = 0;
    int64_t slot = 0;
    for (const int64_t size : sizes) {
      bytes += size;
      slot += (size / kBlock + 2) * kBlock;  // begins and ends inside of blocks
    }
    if (bytes == 0) continue;
    if (spec.expert >= 0) {
      needs.expert_bytes += bytes;
      slots[{spec.draft, spec.layer, spec.expert}] += slot;
    } else if (is_looked_up(spec)) {
      needs.lookup_bytes += bytes;
    } else {
      needs.dense_bytes += bytes;
      if (spec.draft) needs.draft_bytes += bytes;
    }
  }
  needs.num_experts = static_cast<int64_t>(slots.size());
  for (const auto& [expert, slot] : slots) needs.slot_bytes = std::max(needs.slot_bytes, slot);
  needs.experts_per_token = config.num_experts_per_tok;
  if (config.family == ModelFamily::V41) {
    needs.experts_per_token = std::max(needs.experts_per_token, config.dspark.num_experts_per_tok);
  }
  return needs;
}

}  // namespace

bool is_looked_up(const TensorSpec& spec) {
  return spec.name == "embed.weight" || spec.name.ends_with(".engram.embed.weight");
}

MemoryNeeds memory_needs(const Checkpoint& checkpoint) {
  return needs_of(checkpoint.config(), [&](const TensorSpec& spec) {
    std::vector<int64_t> sizes;
    const std::optional<StoredWeight> weight = checkpoint.find(spec.name);
    if (!weight) return sizes;
    sizes.push_back(static_cast<int64_t>(weight->tensor.data.size()));
    if (weight->scale) sizes.push_back(static_cast<int64_t>(weight->scale->data.size()));
    return sizes;
  });
}

MemoryNeeds memory_needs(const ModelConfig& config) {
  return needs_of(config, [&](const TensorSpec& spec) {
    std::vector<int64_t> sizes;
    for (const TensorPlan& plan : released_tensors(spec, config.fp8_block)) {
      sizes.push_back(num_elements(plan.shape) * int64_t{dtype_info(plan.dtype).block_bytes});
    }
    return sizes;
  });
}

double MemoryPlan::resident_share() const {
  if (fits || needs.num_experts == 0) return 1;
  return std::clamp(static_cast<double>(slots) / static_cast<double>(needs.num_experts), 0.0, 1.0);
}

int64_t MemoryPlan::least_cache_bytes() const {
  return std::min(needs.num_experts, 2 * needs.experts_per_token) * needs.slot_bytes;
}

int64_t MemoryPlan::least_memory_bytes() const {
  return needs.dense_bytes + least_cache_bytes() + state_bytes + margin_bytes;
}

MemoryPlan plan_memory(const MemoryNeeds& needs, int64_t memory_bytes, int64_t state_bytes) {
  MemoryPlan plan{.needs = needs, .memory_bytes = memory_bytes, .state_bytes = state_bytes};
  // The program and a prefill chunk's activations take up to a few hundred megabytes at the sizes
  // of Flash; a sixteenth more on large machines for what else lives there.
  plan.margin_bytes = std::clamp<int64_t>(memory_bytes / 16, 128'000'000, 2'000'000'000);
  const int64_t left = memory_bytes - needs.dense_bytes - state_bytes - plan.margin_bytes;
  // Tables need no place: the few rows that a token reads come and go with the page cache.
  plan.fits = needs.expert_bytes <= left;
  plan.cache_bytes = std::min(left, needs.num_experts * needs.slot_bytes);
  if (needs.slot_bytes > 0) plan.slots = std::max<int64_t>(0, plan.cache_bytes / needs.slot_bytes);
  plan.possible = plan.fits || plan.cache_bytes >= plan.least_cache_bytes();
  return plan;
}

ExpertCacheChoice parse_expert_cache(const std::string& text) {
  using Mode = ExpertCacheChoice::Mode;
  if (text == "auto") return {.mode = Mode::automatic};
  if (text == "off") return {.mode = Mode::off};
  const auto refuse = [&text] {
    return UsageError("--expert-cache {}: expected auto, off, or a size such as 12GB or 700MiB.",
                      text);
  };
  const size_t digits = text.find_first_not_of("0123456789");
  std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  std::transform(unit.begin(), unit.end(), unit.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  static const std::map<std::string, int64_t> kUnits = {{"", 1},
                                                        {"B", 1},
                                                        {"K", 1000},
                                                        {"KB", 1000},
                                                        {"KIB", 1 << 10},
                                                        {"M", 1'000'000},
                                                        {"MB", 1'000'000},
                                                        {"MIB", 1 << 20},
                                                        {"G", 1'000'000'000},
                                                        {"GB", 1'000'000'000},
                                                        {"GIB", 1 << 30},
                                                        {"T", 1'000'000'000'000},
                                                        {"TB", 1'000'000'000'000},
                                                        {"TIB", int64_t{1} << 40}};
  const auto factor = kUnits.find(unit);
  if (digits == 0 || text.empty() || factor == kUnits.end()) throw refuse();
  const std::string number = text.substr(0, digits);
  if (number.size() > 15) throw refuse();
  const int64_t count = std::stoll(number);
  if (count == 0 || count > (int64_t{1} << 60) / factor->second) throw refuse();
  return {.mode = Mode::fixed, .bytes = count * factor->second};
}

int64_t choose_expert_cache(const Checkpoint& checkpoint, const ExpertCacheChoice& choice) {
  using Mode = ExpertCacheChoice::Mode;
  if (choice.mode == Mode::off) return 0;
  if (choice.mode == Mode::fixed) return choice.bytes;
  const int64_t memory = available_memory_bytes();
  // The quarter that conversations may take by default is seldom taken: where others have most of
  // the machine's memory, it is a quarter of the rest that counts.
  const int64_t states = choice.state_bytes > 0 ? choice.state_bytes : memory / 4;
  const MemoryPlan plan = plan_memory(memory_needs(checkpoint), memory, states);
  // If it is conversations that are too large, the weights are not to blame.
  const int64_t weights = plan.needs.dense_bytes + plan.needs.expert_bytes;
  if (plan.fits || weights <= memory / 2) return 0;
  // Files are mapped already, and count where the address space is limited.
  const int64_t room = address_space_left_bytes() - states - plan.margin_bytes;
  const int64_t bytes = std::min(plan.cache_bytes, room);
  if (bytes >= plan.least_cache_bytes()) return bytes;
  throw LoadError(
      "{}: memory is not enough for this model. Needed at the least: {:.2f} GB of weights that "
      "every token reads, {:.2f} GB for {} routed experts, {:.2f} GB for conversations, {:.2f} GB "
      "for the program: {:.2f} GB. There are {:.2f} GB{}. Give conversations less (--memory), free "
      "memory or raise the limit of this process, or take a smaller encoding of the model; "
      "--expert-cache off tries all the same, at the speed of the disk.",
      checkpoint.path(), gigabytes(plan.needs.dense_bytes), gigabytes(plan.least_cache_bytes()),
      std::min(plan.needs.num_experts, 2 * plan.needs.experts_per_token), gigabytes(states),
      gigabytes(plan.margin_bytes), gigabytes(plan.least_memory_bytes()), gigabytes(memory),
      bytes < plan.cache_bytes ? ", and the limit of the address space (ulimit -v) leaves less"
                               : "");
}

}  // namespace lethe::model
