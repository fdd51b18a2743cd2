#include "apps/model_bench.h"

#include <algorithm>
#include <chrono>

#include "apps/checkpoint_cost.h"
#include "base/error.h"
#include "model/filled_state.h"

namespace lethe::apps {

namespace {

constexpr int64_t kSeedTokens = 256;  // give every cache a row or more: two groups of 128

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

std::string_view kind_name(BenchRow::Kind kind) {
  return kind == BenchRow::Kind::decode ? "decode" : "prefill";
}

ModelBench::ModelBench(const Checkpoint& checkpoint, model::Model& model,
                       const MachineLimits& limits)
    : checkpoint_(checkpoint),
      model_(model),
      limits_(limits),
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
  row.limit_tokens_per_s = limits_.read_gb_s * 1e9 / row.bytes_per_token;
  measure(row, 1, repeats);
  return row;
}

BenchRow ModelBench::prefill(int64_t depth, int64_t tokens, int64_t chunk, int repeats) {
  BenchRow row{.kind = BenchRow::Kind::prefill, .depth = depth, .tokens = tokens};
  const TokenMacs macs = token_macs(model_.config(), depth + tokens / 2 + 1);
  row.operations_per_token = 2.0 * static_cast<double>(macs.total());
  row.limit_tokens_per_s = limits_.int8_gop_s * 1e9 / row.operations_per_token;
  measure(row, chunk, repeats);
  return row;
}

void ModelBench::measure(BenchRow& row, int64_t chunk, int repeats) {
  const int64_t context = model_.config().max_position_embeddings;
  if (row.depth + row.tokens > context) {
    throw UsageError("depth {} and {} tokens more are past this model's context of {} tokens",
                     row.depth, row.tokens, context);
  }
  const model::SequenceState start = state_at(row.depth);
  std::vector<double> rates;
  const model::ExpertCache* cache = model_.expert_cache();
  const auto before = cache ? cache->stats() : model::ExpertCache::Stats{};
  for (int repeat = 0; repeat < repeats; ++repeat) {
    if (on_repeat) on_repeat(row, repeat);
    model::SequenceState state = start.fork();
    const std::vector<int32_t> tokens = random_tokens(row.tokens);
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t at = 0; at < row.tokens; at += chunk) {
      const auto count = static_cast<size_t>(std::min(chunk, row.tokens - at));
      const model::SequenceChunk part{&state,
                                      std::span(tokens).subspan(static_cast<size_t>(at), count),
                                      model::LogitRows::Last};
      model_.forward({&part, 1});
    }
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
    row.seconds += time.count();
    rates.push_back(static_cast<double>(row.tokens) / time.count());
  }
  checkpoint_.check_unchanged();
  if (cache) row.expert_cache = cache->stats().since(before);
  row.tokens_per_s = median(rates);
  row.lowest = *std::min_element(rates.begin(), rates.end());
  row.highest = *std::max_element(rates.begin(), rates.end());
}

}  // namespace lethe::apps
