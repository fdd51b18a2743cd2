#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/machine_probe.h"
#include "model/model.h"
#include "ops/profile.h"
#include "tensor/checkpoint.h"

namespace lethe::apps {

/// One measurement.
struct BenchRow {
  enum class Kind { decode, prefill };
  Kind kind = Kind::decode;
  int64_t depth = 0;        ///< tokens in the state before
  int64_t tokens = 0;       ///< computed in each repeat
  double tokens_per_s = 0;  ///< median over the repeats
  double lowest = 0;        ///< of the repeats
  double highest = 0;
  double limit_tokens_per_s = 0;    ///< what the machine's limits, measured beside it, allow
  double bytes_per_token = 0;       ///< decode: weights and cache that one token reads
  double operations_per_token = 0;  ///< multiply-adds count twice
  double seconds = 0;               ///< of all repeats
  /// What the expert cache did in all repeats; nothing without one.
  std::optional<model::ExpertCache::Stats> expert_cache = std::nullopt;

  /// Each part of one step (a token of decode, a chunk of prefill), medians over the repeats; all
  /// zero without a profile.
  ops::Profile::Costs parts{};
  double step_seconds() const;  ///< sum of the parts

  double share() const { return limit_tokens_per_s > 0 ? tokens_per_s / limit_tokens_per_s : 0; }
};
std::string_view kind_name(BenchRow::Kind kind);

/// Times forward passes of a model at given depths, reached by copying cache rows instead of
/// computing (model/filled_state.h). One sequence, random tokens. The model must not be in use.
class ModelBench {
 public:
  /// `probe`: measures the machine before and after every repeat. `profile`: that of the model's
  /// device, to tell parts apart; may be null.
  ModelBench(const Checkpoint& checkpoint, model::Model& model, MachineProbe& probe,
             ops::Profile* profile = nullptr);

  /// `tokens` one by one after `depth` tokens. Limit: bytes read per token at the read bandwidth.
  BenchRow decode(int64_t depth, int64_t tokens, int repeats);
  /// `tokens` in chunks of `chunk`. Limit: operations per token at the int8 rate.
  BenchRow prefill(int64_t depth, int64_t tokens, int64_t chunk, int repeats);

  /// Medians over all that the probe has measured so far.
  MachineLimits limits();

  /// Called before each repeat, to show progress.
  std::function<void(const BenchRow&, int repeat)> on_repeat;

 private:
  model::SequenceState state_at(int64_t depth);
  std::vector<int32_t> random_tokens(int64_t count);
  /// Seconds that one repeat takes.
  double run(model::SequenceState state, std::span<const int32_t> tokens, int64_t chunk);
  /// What the machine gave meanwhile: medians of the probe's measurements.
  MachineLimits measure(BenchRow& row, int64_t chunk, int repeats);

  const Checkpoint& checkpoint_;
  model::Model& model_;
  MachineProbe& probe_;
  std::vector<MachineLimits> limits_;  // all of the probe's measurements
  ops::Profile* profile_;
  int64_t weight_bytes_;  // that one token reads
  uint64_t random_ = 1;
};

}  // namespace lethe::apps
