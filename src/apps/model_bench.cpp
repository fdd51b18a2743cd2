#include "apps/model_bench.h"

#include <algorithm>
#include <chrono>

#include "apps/checkpoint_cost.h"
#include "base/error.h"
#include "base/median.h"
#include "model/filled_state.h"

namespace lethe::apps {

namespace {

constexpr int64_t kSeedTokens = 256;  // give every cache a row or more: two groups of 128

/// Per part, the median over the repeats of what one of `steps` steps costs.
ops::Profile::Costs median_costs(const std::vector<ops::Profile::Costs>& repeats, int64_t steps) {
  ops::Profile::Costs out{};
  for (size_t part = 0; part < out.size(); ++part) {
    std::vector<double> seconds;
    std::vector<double> bytes;
    for (const ops::Profile::Costs& costs : repeats) {
      seconds.push_back(costs[part].seconds / static_cast<double>(steps));
      bytes.push_back(costs[part].bytes / static_cast<double>(steps));
    }
    out[part] = {lethe::median(seconds), lethe::median(bytes)};
  }
  return out;
}

}  // namespace

double BenchRow::step_seconds() const {
  double sum = 0;
  for (const ops::Profile::Cost& cost : parts) sum += cost.seconds;
  return sum;
}

std::string_view kind_name(BenchRow::Kind kind) {
  return kind == BenchRow::Kind::decode ? "decode" : "prefill";
}

ModelBench::ModelBench(const Checkpoint& checkpoint, model::Model& model, MachineProbe& probe,
                       ops::Profile* profile)
    : checkpoint_(checkpoint),
      model_(model),
      probe_(probe),
      profile_(profile),
      weight_bytes_(sum(checkpoint_weight_costs(checkpoint)).active_bytes) {}

std::vector<int32_t> ModelBench::random_tokens(int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) {
    do {
      random_ = random_ * 6364136223846793005 + 1442695040888963407;  // Knuth's MMIX
      token = static_cast<int32_t>((random_ >> 33) % static_cast<uint64_t>(model_.num_tokens()));
    } while (token == model_.config().image_token_id);
  }
  return tokens;
}

model::SequenceState ModelBench::state_at(int64_t depth) {
  model::SequenceState state = model_.new_state();
  if (depth == 0) return state;
  const std::vector<int32_t> tokens = random_tokens(std::min(depth, kSeedTokens));
  const model::SequenceChunk chunk{&state, tokens, model::LogitRows::None};
  model_.forward({&chunk, 1});
  model::fill_state(state, depth);
  return state;
}

BenchRow ModelBench::decode(int64_t depth, int64_t tokens, int repeats) {
  BenchRow row{.kind = BenchRow::Kind::decode, .depth = depth, .tokens = tokens};
  const ModelConfig& config = model_.config();
  row.bytes_per_token = static_cast<double>(weight_bytes_ + cache_bytes_read(config, depth + 1));
  row.operations_per_token = 2.0 * static_cast<double>(token_macs(config, depth + 1).total());
  const MachineLimits limits = measure(row, 1, repeats);
  row.limit_tokens_per_s = limits.read_gb_s * 1e9 / row.bytes_per_token;
  return row;
}

BenchRow ModelBench::prefill(int64_t depth, int64_t tokens, int64_t chunk, int repeats) {
  BenchRow row{.kind = BenchRow::Kind::prefill, .depth = depth, .tokens = tokens};
  const TokenMacs macs = token_macs(model_.config(), depth + tokens / 2 + 1);
  // Only the last token of a chunk goes through the head.
  const auto head = static_cast<double>(macs[MacPart::Head]);
  const auto chunks = static_cast<double>((tokens + chunk - 1) / chunk);
  row.operations_per_token = 2.0 * (static_cast<double>(macs.total()) - head +
                                    head * chunks / static_cast<double>(tokens));
  const MachineLimits limits = measure(row, chunk, repeats);
  row.limit_tokens_per_s = limits.int8_gop_s * 1e9 / row.operations_per_token;
  return row;
}

MachineLimits ModelBench::limits() {
  if (limits_.empty()) limits_.push_back(probe_.measure());
  return median(limits_);
}

double ModelBench::run(model::SequenceState state, std::span<const int32_t> tokens, int64_t chunk) {
  const auto size = static_cast<int64_t>(tokens.size());
  const int64_t rows = chunk > 1 ? model_.narrowing_rows() : 0;
  const int64_t narrow_end = rows > 0 ? size - 1 - rows : 0;
  const auto begin = std::chrono::steady_clock::now();
  for (int64_t at = 0; at < size;) {
    const bool narrow = at < narrow_end;
    const int64_t count = std::min(chunk, (narrow ? narrow_end : size) - at);
    const model::SequenceChunk part{
        &state, tokens.subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
        narrow ? model::LogitRows::None : model::LogitRows::Last, narrow};
    model_.forward({&part, 1});
    at += count;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

MachineLimits ModelBench::measure(BenchRow& row, int64_t chunk, int repeats) {
  const int64_t context = model_.config().max_position_embeddings;
  // At the whole context, its last tokens are the ones measured.
  const int64_t depth = row.depth == context ? context - row.tokens : row.depth;
  if (depth < 0 || depth + row.tokens > context) {
    throw UsageError("depth {} and {} tokens more are past this model's context of {} tokens",
                     row.depth, row.tokens, context);
  }
  const model::SequenceState start = state_at(depth);
  std::vector<double> rates;
  std::vector<ops::Profile::Costs> parts;
  const size_t first_probe = limits_.size();
  const model::ExpertCache* cache = model_.expert_cache();
  const auto before = cache ? cache->stats() : model::ExpertCache::Stats{};
  for (int repeat = 0; repeat < repeats; ++repeat) {
    if (on_repeat) on_repeat(row, repeat);
    model::SequenceState state = start.fork();
    const std::vector<int32_t> tokens = random_tokens(row.tokens);
    limits_.push_back(probe_.measure());
    if (profile_ != nullptr) profile_->start();
    const double seconds = run(std::move(state), tokens, chunk);
    if (profile_ != nullptr) parts.push_back(profile_->stop());
    row.seconds += seconds;
    rates.push_back(static_cast<double>(row.tokens) / seconds);
  }
  limits_.push_back(probe_.measure());
  if (profile_ != nullptr) row.parts = median_costs(parts, (row.tokens + chunk - 1) / chunk);
  checkpoint_.check_unchanged();
  if (cache) row.expert_cache = cache->stats().since(before);
  row.tokens_per_s = lethe::median(rates);
  row.lowest = *std::min_element(rates.begin(), rates.end());
  row.highest = *std::max_element(rates.begin(), rates.end());
  return median(std::span(limits_).subspan(first_probe));
}

}  // namespace lethe::apps
